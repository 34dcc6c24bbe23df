#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fails if what is generated is not what hack/codegen/generate.sh makes of its sources. Leaves the tree alone.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT

mkdir "$copy/config"
cp -R "$repo/go.mod" "$repo/go.sum" "$repo/api" "$copy/"
cp -R "$repo/config/crd" "$copy/config/"
# What nothing generates any more must not stay behind unnoticed.
find "$copy" \( -name 'zz_generated*' -o -name '*.pb.go' -o -path '*/config/crd/weir.dev_*.yaml' \) -delete

"$repo/hack/codegen/generate.sh" "$copy"

status=0
for part in api config/crd charts/weir/files/crds docs/api.md; do
  diff -ru "$repo/$part" "$copy/$part" || status=1
done
if [ "$status" -ne 0 ]; then
  echo "Generated code is out of date: run hack/codegen/generate.sh and commit what it changes." >&2
  exit 1
fi
echo "Generated code is up to date."
