#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Lint and template tests of the chart, and that config/ is what it makes. helm,
# kubectl and a kube-apiserver are those of hack/cluster.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

HELM="${HELM:-$(hack/cluster/cluster build helm)/helm}"
KUBEBUILDER_ASSETS="$(hack/envtest/assets.sh)"
export HELM KUBEBUILDER_ASSETS

made="$(mktemp -d)"
trap 'rm -rf "$made"' EXIT
hack/codegen/chart.sh "$made"
for folder in "$made"/*; do
  diff -ru --exclude=kustomization.yaml "config/${folder##*/}" "$folder" || {
    echo "config/ is not what the chart makes: run hack/codegen/chart.sh and commit what it changes." >&2
    exit 1
  }
done
go test -count=1 ./test/chart
