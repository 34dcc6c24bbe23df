#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fails when go.mod and go.sum are not what `go mod tidy` makes of the code.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
go mod tidy -diff || { echo "go.mod is not tidy: run go mod tidy and commit what it changes." >&2; exit 1; }
echo "go.mod is tidy."
