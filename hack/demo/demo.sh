#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make demo: a rate limit on a real pod, on a one-node Kubernetes made for it.
# A foreign cluster is touched only when WEIR_KUBECONTEXT and WEIR_REGISTRY say so.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
. hack/demo/lib.sh

cluster=hack/cluster/cluster
started=$(date +%s)

main() {
  choose_cluster
  build_images
  install_weir
  start_app
  apply_policy
  show_traffic
  say_next
}

choose_cluster() {
  if [ -n "${WEIR_KUBECONTEXT:-}${WEIR_REGISTRY:-}" ]; then
    foreign_cluster
    return
  fi
  local why
  if ! why=$($cluster can 2>&1); then
    echo "${why%.}, so this is the tour in one process."
    exec hack/demo/tour.sh
  fi
  step "Start a one-node Kubernetes, built from Go modules (minutes at first, seconds later)"
  $cluster status >/dev/null 2>&1 || $cluster up
  kubectl() { $cluster kubectl "$@"; }
  helm() { $cluster helm "$@"; }
}

foreign_cluster() {
  [ -n "${WEIR_REGISTRY:-}" ] ||
    die "WEIR_KUBECONTEXT=$WEIR_KUBECONTEXT is set, but WEIR_REGISTRY is not: it names the registry that this cluster pulls from, such as registry.example/weir."
  [ -n "${WEIR_KUBECONTEXT:-}" ] ||
    die "WEIR_REGISTRY=$WEIR_REGISTRY is set, but WEIR_KUBECONTEXT is not: it names the cluster. For the one-node cluster unset both."
  foreign_tools
  cat <<T
This uses the cluster of the context $WEIR_KUBECONTEXT and pushes images to $WEIR_REGISTRY. It creates there:
  namespace weir-system with the Helm release weir (operator, webhook, RBAC, three CRDs)
  namespace shop with a sample app, a client pod and one RateLimitPolicy
make demo-down takes them away again (the CRDs stay).
T
}

build_images() {
  step "Build the images, without Docker"
  WEIR_VERSION="$(image_version)"
  export WEIR_VERSION
  hack/image/build.sh
  registry=weir.local pull=Never
  if [ -n "${WEIR_KUBECONTEXT:-}" ]; then
    registry="$WEIR_REGISTRY" pull=Always
  else
    $cluster load dist/images.tar
  fi
}

install_weir() {
  step "Install the chart: operator, webhook, CRDs, and a Redis for trials"
  # The chart's own words on what to do next are not the demo's.
  patiently "until the operator is ready" \
    helm upgrade --install weir charts/weir --namespace weir-system --create-namespace --wait --timeout 3m \
    --set devBackends.enabled=true \
    --set image.registry="$registry" --set-string image.tag="$WEIR_VERSION" --set image.pullPolicy="$pull" >/dev/null
  kubectl get deployments -n weir-system
}

start_app() {
  step "Run a shop that knows nothing of Weir: two replicas in a namespace labelled weir.dev/inject=enabled"
  sed "s|APP_IMAGE|$registry/app:$WEIR_VERSION|; s|PULL_POLICY|$pull|" hack/demo/shop.yaml | kubectl apply -f -
  kubectl rollout status -n shop deployment/payments --timeout=120s
  kubectl rollout status -n shop deployment/client --timeout=60s
  kubectl get pods -n shop
}

apply_policy() {
  step "kubectl apply -f config/samples/ratelimitpolicy.yaml, and wait until every sidecar has acked it"
  kubectl apply -f config/samples/ratelimitpolicy.yaml
  local from; from=$(date +%s%N)
  kubectl wait -n shop --for=condition=Programmed rlp/payments --timeout=60s
  echo "Programmed after $((($(date +%s%N) - from) / 1000000)) ms."
  kubectl get rlp -n shop
}

show_traffic() {
  # Names of this run: one that ran a minute ago may have used others up.
  local alice bob
  alice="alice-$(date +%H%M%S)" bob="bob-$(date +%H%M%S)"
  step "Seven payments of the client $alice, through the Service, over both replicas"
  pay "$alice" 7
  step "Two payments of another client, $bob: unaffected"
  pay "$bob" 2
  step "What a limited client is told"
  kubectl exec -n shop deploy/client -- /app/echo get -X POST -H "X-Client-Id: $alice" -whole http://payments/users/1/payments
}

# pay CLIENT N prints a line for each answer.
pay() {
  kubectl exec -n shop deploy/client -- /app/echo get -n "$2" -X POST -H "X-Client-Id: $1" \
    -columns "Ratelimit,Retry-After" http://payments/users/1/payments
}

say_next() {
  local k="$cluster kubectl" w="$cluster lan bin/weir" context=""
  if [ -n "${WEIR_KUBECONTEXT:-}" ]; then
    context=" --context $WEIR_KUBECONTEXT" k="kubectl --context $WEIR_KUBECONTEXT" w="bin/weir"
  fi
  cat <<T

Done after $(($(date +%s) - started)) s. The cluster stays up. Try next:
  $k get rlp -A
  $k edit rlp payments -n shop          # change the limit; it holds a moment later, no pod restarts
  $k patch rlp payments -n shop --type=json -p '[{"op": "replace", "path": "/spec/limits/0/limit", "value": 8}]'
  $k exec -n shop deploy/client -- /app/echo get -n 9 -X POST -H "X-Client-Id: carol" -columns Ratelimit,Retry-After http://payments/users/1/payments
  make build && $w status -n shop$context
  $w check -n shop$context
  make demo-down
T
}

main
