#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Asks Express 4 and 5 which route each spelling of a path reaches, and writes their
# answers where test/fuzz reads them. Needs node and npm; nothing is installed in
# the tree.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

npm install --prefix "$work" --no-save --no-audit --no-fund --silent express-4@npm:express@4.22.3 express-5@npm:express@5.3.0
cp "$root/hack/fuzz/express.js" "$work/"
(cd "$root" && go test -count=1 -run '^TestExpress$' ./test/fuzz -spellings "$work/targets.json" >/dev/null)
for major in 4 5; do
	node "$work/express.js" "express-$major" <"$work/targets.json" >"$work/answers.json"
	mv "$work/answers.json" "$root/test/fuzz/testdata/express-$major.json"
done
