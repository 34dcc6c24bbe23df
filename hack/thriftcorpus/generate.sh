#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes sidecar/wire/thrift/message/testdata/written: the same messages by Apache
# Thrift's libraries for Go, Python, Node and Java, and the headers of Kitex's. Needs
# go, python3, npm, mvn, javac.
# Infos of headers come in any order where a library keeps them in a map.
set -euo pipefail
cd "$(dirname "$0")"
out=../../sidecar/wire/thrift/message/testdata/written
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$out"

go run . >"$tmp/go.txt"
go -C kitex run . >"$tmp/kitex.txt"

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q thrift==0.25.0
"$tmp/venv/bin/python" corpus.py >"$tmp/python.txt"

npm install --silent --no-audit --no-fund --prefix "$tmp/node" thrift@0.24.0
NODE_PATH="$tmp/node/node_modules" node --no-deprecation corpus.js >"$tmp/node.txt"

mvn -q dependency:copy -Dartifact=org.apache.thrift:libthrift:0.22.0 -DoutputDirectory="$tmp/java"
mvn -q dependency:copy -Dartifact=org.slf4j:slf4j-api:1.7.36 -DoutputDirectory="$tmp/java"
javac -cp "$tmp/java/*" -d "$tmp/java" Corpus.java
java -cp "$tmp/java/*:$tmp/java" Corpus >"$tmp/java.txt" 2>/dev/null

mv "$tmp"/{go,kitex,python,node,java}.txt "$out/"
