# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Certificates, tokens and kubeconfigs of one cluster, made anew at each `up`.

make_pki() (
  exec 2>"$state/log/pki.log" # openssl talks while it works
  umask 077
  mkdir -p "$state/pki"
  cd "$state/pki"
  new_key ca
  openssl req -x509 -new -key ca.key -subj /CN=weir-cluster-ca -days 3650 -out ca.crt
  new_cert apiserver /CN=kube-apiserver serverAuth \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$node_ip,IP:$service_ip"
  new_cert kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
  new_cert front-proxy /CN=front-proxy clientAuth
  new_key sa
  openssl ec -in sa.key -pubout -out sa.pub
  : >tokens.csv
  new_user admin admin system:masters
  new_user controller-manager system:kube-controller-manager ""
  new_user scheduler system:kube-scheduler ""
  new_user proxy system:kube-proxy ""
  new_user kubelet "system:node:$node" system:nodes
)

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

# new_cert NAME SUBJECT USAGE [NAMES] signs with the cluster's CA.
new_cert() {
  new_key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" \
    -extfile <(printf 'extendedKeyUsage=%s\n' "$3"; [ -z "${4:-}" ] || printf 'subjectAltName=%s\n' "$4")
  rm "$1.csr"
}

# new_user FILE USER GROUPS writes a kubeconfig with a token of its own.
new_user() {
  local token
  token="$(openssl rand -hex 16)"
  printf '%s,%s,%s,"%s"\n' "$token" "$2" "$2" "$3" >>tokens.csv
  cat >"$state/$1.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: weir, cluster: {server: "https://$node_ip:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {token: $token}}]
contexts: [{name: weir, context: {cluster: weir, user: $1}}]
current-context: weir
K
}
