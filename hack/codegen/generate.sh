#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Regenerates what needs no helm: deepcopy functions, CRDs and the chart's copy of them, docs/api.md, protobuf (chart.sh
# does the rest). The tools come from hack/tools/go.mod through the
# go command; nothing else is downloaded.
#
#   hack/codegen/generate.sh [TREE]      TREE: the tree to work on (default: this one); verify.sh passes a copy.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
tree="$(cd "${1:-$repo}" && pwd)"
tools="$repo/hack/tools"

# `go tool -n` builds a tool into go's cache and prints its path, so that it can run in another module's folder.
tool() { go -C "$tools" tool -n "$1"; }

controller_gen="$(tool controller-gen)"
protoc_gen_go="$(tool protoc-gen-go)"
protoc_gen_go_grpc="$(tool protoc-gen-go-grpc)"

cd "$tree"
"$controller_gen" object:headerFile="$repo/hack/codegen/header.go.txt" paths=./api/v1alpha1
"$controller_gen" crd paths=./api/v1alpha1 output:crd:artifacts:config=config/crd
mkdir -p docs charts/weir/files/crds
rm -f charts/weir/files/crds/*
cp config/crd/weir.dev_*.yaml charts/weir/files/crds/
go -C "$tools" run ./cmd/apidoc \
  "$tree/config/crd/weir.dev_ratelimitpolicies.yaml" \
  "$tree/config/crd/weir.dev_idempotencypolicies.yaml" \
  "$tree/config/crd/weir.dev_callbackroutes.yaml" >docs/api.md
go -C "$tools" run ./cmd/protogen -root "$tree/api" \
  -plugin "$protoc_gen_go" -plugin "$protoc_gen_go_grpc" \
  rls/rls.proto snapshot/snapshot.proto snapshot/thrift.proto stream/stream.proto
