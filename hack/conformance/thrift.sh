#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Apache Thrift's cross-test, directly and through Weir: whatever passes and fails must
# be the same. --full is the whole matrix, with Node and Java; other arguments go to
# test/conformance/thrift. LOGS names a folder that keeps the output of cells that differ.
#
# The sources are those of the Go module apache/thrift, which go.mod names, with the
# libraries of PyPI, npm and Maven, and with the code that thrift-compiler 0.17 (Debian)
# makes of ThriftTest.thrift. It knows no uuid and makes no Go of maps by containers, so these
# are taken out of copies of the sources. Its code for Node and Java needs their
# libraries of 0.17. What is made is kept in the cache, none of it in the tree.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

full=
for a in "$@"; do [ "$a" != --full ] || full=yes; done
module="$(go list -m -f '{{.Dir}}' github.com/apache/thrift)"
version="$(go list -m -f '{{.Version}}' github.com/apache/thrift)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/weir/thrift-$version-1"
mkdir -p "$cache"
dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT

compiler="$(command -v thrift || true)"
if [ -z "$compiler" ]; then
  compiler="$cache/compiler/usr/bin/thrift"
  if [ ! -x "$compiler" ]; then
    (cd "$dir" && apt-get download -qq thrift-compiler >/dev/null 2>&1) || true
    deb="$(find "$dir" -name 'thrift-compiler_*.deb')"
    [ -n "$deb" ] || { echo "thrift is not installed: apt-get install thrift-compiler" >&2; exit 1; }
    dpkg -x "$deb" "$cache/compiler"
  fi
fi

# generate FOLDER LANGUAGE IDL: its warnings are of the IDL's own oddities.
generate() {
  mkdir -p "$1"
  "$compiler" -out "$1" --gen "$2" "$3" >"$dir/generate" 2>&1 || { cat "$dir/generate" >&2; return 1; }
}
# writable FOLDER FILE...: copies, for the module's cache is read-only.
writable() { mkdir -p "$1"; cp "${@:2}" "$1/"; chmod -R u+w "$1"; }

sed '/uuid/d' "$module/test/ThriftTest.thrift" >"$dir/ThriftTest.thrift"

python() {
  local to="$cache/py"
  if [ ! -e "$cache/venv/installed" ]; then
    rm -rf "$cache/venv" "$to"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check thrift==0.25.0
    writable "$to" "$module"/test/py/{TestClient,TestServer,util}.py
    sed -i 's/def testUuid/def withoutUuid/' "$to/TestClient.py"
    generate "$to/gen-py" py "$dir/ThriftTest.thrift"
    touch "$cache/venv/installed"
  fi
}

go_peer() {
  mkdir -p "$dir/go"
  sed -E '/map<(list|set|map)</d; /set<Insanity/d' "$dir/ThriftTest.thrift" >"$dir/go/ThriftTest.thrift"
  generate "$dir/go" go "$dir/go/ThriftTest.thrift"
  local files=""
  for f in "$dir"/go/thrifttest/*.go; do
    files+="\"$PWD/test/conformance/thrift/testdata/gopeer/thrifttest/$(basename "$f")\": \"$f\","
  done
  echo "{\"Replace\": {${files%,}}}" >"$dir/overlay.json"
  CGO_ENABLED=0 go build -overlay "$dir/overlay.json" -tags crosstest -o "$cache/gopeer" ./test/conformance/thrift/testdata/gopeer
}

node() {
  local to="$cache/node"
  [ ! -e "$to/installed" ] || return 0
  rm -rf "$to"
  writable "$to" "$module"/lib/nodejs/test/{client,server,test_driver,test_handler,test-cases}.mjs "$module/lib/nodejs/test/helpers.js"
  sed -i '/"testUuid"/d; /from "uuid"/d' "$to"/*.mjs
  npm install --silent --no-audit --no-fund --prefix "$to" thrift@0.17.0 tape@5.10.2 commander@14.0.3 >"$dir/npm" 2>&1 || { cat "$dir/npm" >&2; return 1; }
  generate "$to/gen-nodejs" js:node "$dir/ThriftTest.thrift"
  touch "$to/installed"
}

java() {
  local to="$cache/java" artifact
  [ ! -e "$to/installed" ] || return 0
  rm -rf "$to"
  for artifact in org.apache.thrift:libthrift:0.17.0 org.slf4j:slf4j-api:1.7.36 javax.annotation:javax.annotation-api:1.3.2 \
    org.apache.httpcomponents:httpclient:4.5.14 org.apache.httpcomponents:httpcore:4.4.16 commons-logging:commons-logging:1.2; do
    mvn -q -B dependency:copy -Dartifact="$artifact" -DoutputDirectory="$to/jars" >"$dir/mvn" 2>&1 || { cat "$dir/mvn" >&2; return 1; }
  done
  writable "$to/src" "$module"/lib/java/src/crossTest/java/org/apache/thrift/test/Test{Client,Server}.java \
    "$module/lib/java/src/test/java/org/apache/thrift/server/ServerTestBase.java"
  # Of the base of tests only the handler is wanted, and the client of HTTP is 0.17's.
  sed -i -e '/junit/d' -e '/class TestHandler$/,$d' "$to/src/ServerTestBase.java"
  printf '  }\n  static final long SLEEP_DELAY = 1000;\n}\n' >>"$to/src/ServerTestBase.java"
  perl -0pi -e 's/\@Override\s+public UUID testUuid\(.*?\n    \}\n//s' "$to/src/ServerTestBase.java"
  perl -0pi -e 's/System\.out\.println\("testUuid.*?(?=\/\*\* Multiplexed)//s; s/hc\.client5\.http\.impl\.classic/http.impl.client/' "$to/src/TestClient.java"
  generate "$to/gen" java "$dir/ThriftTest.thrift"
  mkdir -p "$to/classes"
  find "$to/gen" "$to/src" -name '*.java' >"$dir/sources"
  javac -nowarn -cp "$to/jars/*" -d "$to/classes" "@$dir/sources" >"$dir/javac" 2>&1 || { cat "$dir/javac" >&2; return 1; }
  touch "$to/installed"
}

# Each in a shell of its own, for what fails here is left out of the table, which says so.
made() {
  local failed=0
  set +e
  (set -e; "$1")
  failed=$?
  set -e
  [ "$failed" = 0 ] || echo "The peers of $1 could not be made." >&2
}
made python
go_peer
if [ -n "$full" ]; then
  made node
  made java
fi
CGO_ENABLED=0 go build -o "$dir/" ./cmd/weir
CGO_ENABLED=0 go build -o "$dir/crosstest" ./test/conformance/thrift
mkdir -p "${LOGS:-$dir/logs}"
"$dir/crosstest" --peers "$cache" --weir "$dir/weir" --logs "${LOGS:-$dir/logs}" "$@"
