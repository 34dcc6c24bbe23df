#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Autobahn's WebSocket suite against an echo server, directly and through Weir with
# a policy; every case must end the same. It needs Python 2.7 with pip, for which the
# suite is written: PYTHON2 names it. Arguments are cases, such as '12.*'; all
# without. REPORTS names a folder that keeps the reports.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

suite=25.10.1
python="${PYTHON2:-}"
for candidate in python2.7 "$HOME"/.pyenv/versions/2.7*/bin/python; do
  [ -n "$python" ] || ! "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null || python="$candidate"
done
[ -n "$python" ] || { echo "Python 2.7 is not installed; PYTHON2=... names one" >&2; exit 1; }

# The suite and what it needs, outside of the tree, once.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/weir/autobahntestsuite-$suite"
if [ ! -e "$cache/installed" ]; then
  rm -rf "$cache"
  mkdir -p "$cache"
  "$python" -m pip install --quiet --disable-pip-version-check --target "$cache" "autobahntestsuite==$suite"
  touch "$cache/installed"
fi

dir="$(mktemp -d)"
pids=()
trap 'for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT
go build -o "$dir/" ./cmd/weir ./test/conformance/websocket

"$dir/websocket" serve 127.0.0.1:0 >"$dir/echo" &
pids+=($!)
for _ in $(seq 100); do [ -s "$dir/echo" ] && break; sleep 0.1; done
echo="$(cat "$dir/echo")"

port="$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
cat >"$dir/policy.yaml" <<YAML
apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: conformance}
spec:
  targetRefs: [{group: "", kind: Service, name: echo}]
  limits:
  - {name: never-hit, scope: Pod, key: [{clientIP: {}}], limit: 1000000, window: 60s}
YAML
"$dir/weir" run -f "$dir/policy.yaml" --listener "name=echo/ws,listen=127.0.0.1:$port,upstream=$echo,protocol=ws" >"$dir/weir.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done

reports="${REPORTS:-$dir/reports}"
cases='"*"'
[ $# -eq 0 ] || cases="$(printf '"%s",' "$@")" && cases="${cases%,}"
cat >"$dir/spec.json" <<JSON
{"outdir": "$reports", "cases": [$cases], "exclude-cases": [], "exclude-agent-cases": {}, "servers": [
  {"agent": "direct", "url": "ws://$echo"},
  {"agent": "weir", "url": "ws://127.0.0.1:$port"}
]}
JSON
start=$SECONDS
# Without zope's .pth, which only a site folder has, it cannot be imported.
(cd "$dir" && PYTHONWARNINGS=ignore "$python" -c 'import site, sys; site.addsitedir(sys.argv[1]); sys.path.insert(0, sys.argv[1]); sys.argv = ["wstest", "-m", "fuzzingclient", "-s", "spec.json"]; from autobahntestsuite.wstest import run; run()' "$cache") >"$dir/suite.log" 2>&1 ||
  { tail -n 40 "$dir/suite.log" "$dir/weir.log" >&2; exit 1; }
"$dir/websocket" compare "$reports/index.json"
echo "$((SECONDS - start)) s for both"
