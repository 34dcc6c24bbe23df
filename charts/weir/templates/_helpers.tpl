{{/* Names are fixed: CRDs and webhook are the cluster's, so there is one Weir in a cluster. */}}

{{- define "weir.selector" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* Called with a list: the root, the component. */}}
{{- define "weir.labels" -}}
{{- $root := index . 0 -}}
{{ include "weir.selector" (index . 1) }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/version: {{ $root.Values.image.tag | default $root.Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Called with a list: the root, operator or sidecar. */}}
{{- define "weir.image" -}}
{{- $root := index . 0 -}}
{{- $which := index . 1 -}}
{{- $image := $root.Values.image -}}
{{- printf "%s/%s:%s" (trimSuffix "/" $image.registry) (index $image $which) ($image.tag | default $root.Chart.AppVersion) -}}
{{- with index $image.digests $which }}@{{ . }}{{ end -}}
{{- end }}

{{/* What the level "restricted" of Pod Security asks for. */}}
{{- define "weir.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
{{- define "weir.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What the operator would refuse when it starts is refused before anything is installed. */}}
{{- define "weir.supported" -}}
{{- $bad := list -}}
{{- if .Values.kafkaClusters }}{{ $bad = append $bad "kafkaClusters: This version of Weir does not support Kafka: remove it." }}{{ end -}}
{{- $egress := .Values.egress -}}
{{- if or (ne (toJson $egress.allowHosts) "[\"*\"]") $egress.denyCIDRs $egress.allowPlainHTTP -}}
{{- $bad = append $bad "egress: This version of Weir makes no outgoing calls, and so bounds none: remove it." -}}
{{- end -}}
{{- if $bad }}{{ fail (join "\n" $bad) }}{{ end -}}
{{- end }}

{{/* config.yaml of the operator. */}}
{{- define "weir.config" -}}
{{- include "weir.supported" . -}}
{{- $stores := .Values.stores -}}
{{- if .Values.devBackends.enabled -}}
{{- $named := false -}}
{{- range $stores }}{{ if eq .name "default" }}{{ $named = true }}{{ end }}{{ end -}}
{{- if not $named -}}
{{- $address := printf "weir-dev-backends.%s.svc:6379" .Release.Namespace -}}
{{- $stores = append $stores (dict "name" "default" "redis" (dict "addresses" (list $address))) -}}
{{- end -}}
{{- end -}}
{{- /* YAML numbers that Helm has merged are floats: 65536 must not become 6.5536e+04. */ -}}
{{- $proxy := merge (dict "maxConnections" (int64 .Values.proxy.maxConnections)) .Values.proxy -}}
{{- dict "stores" $stores
  "kafkaClusters" .Values.kafkaClusters
  "jwtProviders" .Values.jwtProviders
  "identity" .Values.identity
  "proxy" $proxy
  "telemetry" .Values.telemetry
  "egress" .Values.egress
  "injection" (omit .Values.injection "logLevel")
  "devBackends" .Values.devBackends | toYaml -}}
{{- end }}
