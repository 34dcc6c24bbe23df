#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make demo-down: takes away all that make demo has made, but built programs.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
. hack/demo/lib.sh

if [ -n "${WEIR_KUBECONTEXT:-}" ]; then
  foreign_tools
  step "Remove the shop and the release from $WEIR_KUBECONTEXT"
  kubectl delete namespace shop --ignore-not-found
  helm uninstall weir --namespace weir-system --ignore-not-found
  kubectl delete namespace weir-system --ignore-not-found
  echo "The CRDs stay, and with them policies of other namespaces: kubectl delete crd -l app.kubernetes.io/name=weir removes them."
else
  step "Stop the one-node cluster"
  hack/cluster/cluster down
fi
