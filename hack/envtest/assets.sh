#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the folder that KUBEBUILDER_ASSETS has to name: kube-apiserver, etcd
# and kubectl. Uses KUBEBUILDER_ASSETS when it is set, else builds them from
# Go modules into a cache, with progress on stderr.
set -euo pipefail

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  printf '%s\n' "$KUBEBUILDER_ASSETS"
  exit
fi
exec "$(dirname "${BASH_SOURCE[0]}")/../cluster/cluster" build envtest
