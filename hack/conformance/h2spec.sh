#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# h2spec against net/http's HTTP/2 server, and against weir-sidecar with a limit in
# front of that server. Weir may fail nothing that the server alone passes.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

h2spec=github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
dir="$(mktemp -d)"
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap cleanup EXIT

GOBIN="$dir" go install "$h2spec" 2>"$dir/install" || { cat "$dir/install" >&2; exit 1; }
CGO_ENABLED=0 go build -o "$dir/" ./cmd/weir ./cmd/weir-sidecar
CGO_ENABLED=0 go build -o "$dir/helper" ./test/conformance/h2spec

"$dir/helper" origin 127.0.0.1:0 >"$dir/origin" &
pids+=($!)
for _ in $(seq 100); do [ -s "$dir/origin" ] && break; sleep 0.1; done
origin="$(head -1 "$dir/origin")"

cat >"$dir/policy.yaml" <<'YAML'
apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: all, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: app, sectionName: h2c}]
  limits: [{name: all, key: [{clientIP: {}}], algorithm: TokenBucket, limit: 1000000, window: 1s, scope: Pod}]
YAML
"$dir/weir" compile -f "$dir/policy.yaml" -o "$dir/snapshot.json"
port=$((20000 + RANDOM % 10000))
"$dir/weir-sidecar" --snapshot "$dir/snapshot.json" --listener "name=app/h2c,listen=127.0.0.1:$port,upstream=$origin" >"$dir/sidecar" 2>&1 &
pids+=($!)
for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done

# h2spec says by its exit code that cases failed; the reports say which.
"$dir/h2spec" --strict --timeout 2 --host 127.0.0.1 --port "${origin##*:}" --junit-report "$dir/bare.xml" >"$dir/bare" || true
"$dir/h2spec" --strict --timeout 2 --host 127.0.0.1 --port "$port" --junit-report "$dir/weir.xml" >"$dir/through" || true
"$dir/helper" compare "$dir/bare.xml" "$dir/weir.xml" || { cat "$dir/sidecar" >&2; exit 1; }
