#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# stripe-python, with its own keys and retries, against a fake of its API behind Weir:
# one charge per call, whatever breaks. It needs Python 3 with venv and pip: PYTHON3
# names it.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

version=16.1.0
# The SDK and what it needs, outside of the tree, once.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/weir/stripe-python-$version"
if [ ! -e "$cache/installed" ]; then
  rm -rf "$cache"
  "${PYTHON3:-python3}" -m venv "$cache"
  "$cache/bin/python" -m pip install --quiet --disable-pip-version-check "stripe==$version"
  touch "$cache/installed"
fi

WEIR_TEST_STRIPE_PYTHON="$cache/bin/python" exec go test -count=1 -run TestStripe -v ./test/conformance/idempotency "$@"
