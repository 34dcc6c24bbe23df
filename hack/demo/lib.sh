# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0

# shellcheck source=hack/progress.sh
. hack/progress.sh

# step says what happens next; bold on a terminal.
step() {
  if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    printf '\n\033[1m%s\033[0m\n' "$*"
  else
    printf '\n%s\n' "$*"
  fi
}

die() { printf '%s\n' "$*" >&2; exit 2; }

# foreign_tools makes kubectl and helm those of the context WEIR_KUBECONTEXT, and
# says before anything is built or made that it cannot be used.
# shellcheck disable=SC2317  # called by those who source this
foreign_tools() {
  local tool problem
  for tool in kubectl helm; do
    command -v "$tool" >/dev/null || die "$tool is missing: it is needed for the cluster of WEIR_KUBECONTEXT."
  done
  command kubectl config get-contexts "$WEIR_KUBECONTEXT" >/dev/null 2>&1 ||
    die "The kubeconfig has no context $WEIR_KUBECONTEXT. It has: $(command kubectl config get-contexts -o name 2>/dev/null | paste -sd' ')"
  problem="$(command kubectl --context "$WEIR_KUBECONTEXT" --request-timeout=15s version 2>&1 >/dev/null)" ||
    die "The cluster of the context $WEIR_KUBECONTEXT does not answer: $problem"
  kubectl() { command kubectl --context "$WEIR_KUBECONTEXT" "$@"; }
  helm() { command helm --kube-context "$WEIR_KUBECONTEXT" "$@"; }
}

# image_version is a tag that changes with the code, so that a cluster which has
# run older images starts the new ones.
image_version() {
  local v
  v="$(git describe --always --dirty 2>/dev/null || echo dirty)"
  case "$v" in
    *dirty) echo "${v}-$(date +%s)" ;;
    *) echo "$v" ;;
  esac
}
