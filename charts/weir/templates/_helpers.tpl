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

{{/* config.yaml of the operator. */}}
{{- define "weir.config" -}}
{{- $stores := .Values.stores -}}
{{- if .Values.devBackends.enabled -}}
{{- $named := false -}}
{{- range $stores }}{{ if eq .name "default" }}{{ $named = true }}{{ end }}{{ end -}}
{{- if not $named -}}
{{- $address := printf "weir-dev-backends.%s.svc:6379" .Release.Namespace -}}
{{- $stores = append $stores (dict "name" "default" "redis" (dict "addresses" (list $address))) -}}
{{- end -}}
{{- end -}}
{{- dict "stores" $stores
  "kafkaClusters" .Values.kafkaClusters
  "jwtProviders" .Values.jwtProviders
  "identity" .Values.identity
  "egress" .Values.egress
  "injection" (omit .Values.injection "logLevel")
  "devBackends" .Values.devBackends | toYaml -}}
{{- end }}
