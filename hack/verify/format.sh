#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Format of Go code, shell syntax, licence headers, and what must not be
# committed: paths of a home directory, addresses of registries.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
status=0
bad() { echo "$*" >&2; status=1; }

files() { git ls-files --cached --others --exclude-standard "$@" | while read -r f; do [ -f "$f" ] && echo "$f"; done; }

unformatted=$(files '*.go' | grep -vE 'zz_generated|\.pb\.go$' | xargs gofmt -l)
[ -z "$unformatted" ] || bad "not formatted, run make fmt:"$'\n'"$unformatted"

for f in $(files '*.sh' .ci/run hack/cluster/cluster); do
  bash -n "$f" || bad "$f: not valid bash"
done

for f in $(files '*.go' '*.sh' '*.proto' '*.lua' Makefile .ci/run hack/cluster/cluster | grep -vE 'zz_generated|\.pb\.go$'); do
  head -n 5 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || bad "$f: no SPDX-License-Identifier in the first five lines"
done

if git grep -nE '(^|[^a-zA-Z0-9.])/(root|home/[a-z]+|Users/[a-z]+)/|GOPROXY *= *http|index-url|registry *= *http' -- ':!*.sum' ':!hack/verify/format.sh' ':!LICENSE'; then
  bad "the lines above name a path of a machine or the address of a registry"
fi
[ "$status" -ne 0 ] || echo "Format, shell syntax and licence headers are fine."
exit "$status"
