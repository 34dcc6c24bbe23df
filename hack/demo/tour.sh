#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make tour: go run ./cmd/weir demo, with a sign of life while it is compiled.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
. hack/demo/lib.sh

command -v go >/dev/null || { echo "The go command is missing: install Go, https://go.dev/doc/install" >&2; exit 1; }
step "Build weir (2 to 4 minutes when nothing is compiled yet, seconds later)"
patiently "building weir" go build -buildvcs=false -o dist/bin/weir ./cmd/weir
exec dist/bin/weir demo
