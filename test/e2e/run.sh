#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make e2e: builds the images, starts the one-node cluster of hack/cluster unless
# it is up (or uses a foreign one), installs the chart and runs test/e2e.
#
#   E2E_RUN=<pattern>          which tests (go test -run)
#   E2E_KEEP=1                 leave a cluster up that this has started
#   WEIR_KUBECONTEXT=<name>    a foreign cluster, with WEIR_REGISTRY to push to
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
cluster="$PWD/hack/cluster/cluster"
. hack/demo/lib.sh
version="${WEIR_VERSION:-$(image_version)}"
export WEIR_VERSION="$version"
registry=weir.local
say() { printf '\n== [%4ds] %s\n' "$SECONDS" "$*"; }

started=
log="$(mktemp)"
cleanup() {
  rm -f "$log"
  if [ -n "$started" ] && [ -z "${E2E_KEEP:-}" ]; then "$cluster" down; fi
}
trap cleanup EXIT

if [ -z "${WEIR_KUBECONTEXT:-}" ] && [ -n "${WEIR_REGISTRY:-}" ]; then
  echo "WEIR_REGISTRY is set, but WEIR_KUBECONTEXT is not: nothing would pull from $WEIR_REGISTRY. Unset it, or name the cluster." >&2
  exit 2
fi
if [ -n "${WEIR_KUBECONTEXT:-}" ]; then
  registry="${WEIR_REGISTRY:?names the registry that $WEIR_KUBECONTEXT pulls from}"
  say "cluster $WEIR_KUBECONTEXT, images pushed to $registry"
  export E2E_KUBECTL="kubectl --context $WEIR_KUBECONTEXT" E2E_HELM="helm --kube-context $WEIR_KUBECONTEXT"
  export E2E_PULL_POLICY=Always
else
  "$cluster" can
  say "the one-node cluster"
  if ! "$cluster" status >/dev/null 2>&1; then
    started=1
    "$cluster" up
  fi
  export E2E_KUBECTL="$cluster kubectl" E2E_HELM="$cluster helm" E2E_NODE="$cluster exec-node"
  export E2E_PULL_POLICY=Never
fi

say "images"
hack/image/build.sh
[ -n "${WEIR_KUBECONTEXT:-}" ] || "$cluster" load dist/images.tar
export E2E_APP_IMAGE="$registry/app:$version"

say "chart"
$E2E_HELM upgrade --install weir "$PWD/charts/weir" --namespace weir-system --create-namespace --wait --timeout 3m \
  --set devBackends.enabled=true --set rls.enabled=true --set image.registry="$registry" --set-string image.tag="$version" \
  --set image.pullPolicy="$E2E_PULL_POLICY"

# failures repeats what the failed tests have said themselves, without the state of
# the cluster that they dump: the end of a log is what people see first.
failures() {
  awk '
    /^=== RUN   [^\/]*$/ { n = 0; show = 0 }
    /_test\.go:[0-9]+: / { show = !/_test\.go:[0-9]+: state by kubectl / }
    /^(===|---|PASS|FAIL|ok|panic|exit)/ { show = 0 }
    /^ *--- FAIL/ { if (/^--- FAIL/) { print; for (i = 0; i < n && i < 40; i++) print line[i] } else fails[++f] = $0 }
    show { line[n++] = substr($0, 1, 600) }
    END { for (i = 1; i <= f; i++) print fails[i] }
  ' "$log"
}

say "tests"
go test -tags e2e -count=1 -v -timeout 22m ${E2E_RUN:+-run "$E2E_RUN"} ./test/e2e | tee "$log" || {
  rc=$?
  say "what failed"
  failures
  exit "$rc"
}
