#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The HTTP/1 corpus with every reader: nginx, HAProxy and Node must be installed
# (Debian: nginx-light haproxy nodejs). With -update it writes the table of
# docs/conformance.md.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
PATH=$PATH:/usr/sbin
for program in nginx haproxy node; do
  command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 1; }
done
CGO_ENABLED=1 go test -race -count=1 ./test/conformance/http1/
[ "${1:-}" != -update ] || go test -count=1 -run TestForwarded ./test/conformance/http1/ -args -update
