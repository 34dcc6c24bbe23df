#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds Weir's images from static binaries, without Docker.
set -euo pipefail

usage() {
  cat <<'U'
usage: hack/image/build.sh [-o FILE] [operator] [sidecar] [app]

Builds the images named, or all three, and writes them to one archive (default
dist/images.tar) that `docker load`, `ctr images import` and `hack/cluster/cluster load` read:

  weir.local/weir-operator:$WEIR_VERSION   cmd/weir-operator
  weir.local/weir-sidecar:$WEIR_VERSION    cmd/weir-sidecar
  weir.local/app:$WEIR_VERSION             test/apps/*, for trials and tests; starts /app/echo

weir.local is no host: these names are for nodes that the archive is loaded into.

Environment
  WEIR_VERSION   tag and version of the binaries (default dev)
  WEIR_REGISTRY  push there too: registry.example/me makes registry.example/me/weir-operator:$WEIR_VERSION
                 and so on, with the credentials of `docker login`
  GOARCH         architecture of the images (default: of this machine)
U
}

die() { printf 'image: %s\n' "$*" >&2; exit 1; }

repo="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)"
command -v go >/dev/null || die "the go command is missing: install Go, https://go.dev/doc/install"
version="${WEIR_VERSION:-dev}"
archive="$repo/dist/images.tar"
images=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit ;;
    -o) [ $# -gt 1 ] || die "-o wants a file"; archive="$(realpath -m "$2")"; shift ;;
    operator | sidecar | app) images+=("$1") ;;
    *) die "unknown image \"$1\"; there are operator, sidecar and app" ;;
  esac
  shift
done
[ ${#images[@]} -gt 0 ] || images=(operator sidecar app)

. "$repo/hack/progress.sh"
say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }

bin="$repo/dist/bin"
mkdir -p "$bin" "$(dirname "$archive")"

# The packer runs here, so it is built for this machine whatever GOARCH says.
say "building the image packer"
env -u GOARCH -u GOOS GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0 go -C "$repo/hack/image" build -trimpath -o "$bin/image" .

# compile PACKAGE: the same flags on every machine give the same bytes.
compile() {
  say "building $1"
  GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0 GOOS=linux patiently "building $1" \
    go -C "$repo" build -trimpath -tags grpcnotrace -ldflags "-s -w -X main.version=$version" -o "$bin/${1##*/}" "./$1"
}

args=(-o "$archive")
for image in "${images[@]}"; do
  case "$image" in
    app)
      args+=(-image "weir.local/app:$version")
      for app in "$repo"/test/apps/*/; do
        app="$(basename "$app")"
        compile "test/apps/$app"
        args+=(-add "$bin/$app=/app/$app")
      done
      args+=(-entrypoint /app/echo)
      ;;
    *)
      compile "cmd/weir-$image"
      args+=(-image "weir.local/weir-$image:$version" -add "$bin/weir-$image=/app/weir-$image")
      ;;
  esac
done
if [ -n "${WEIR_REGISTRY:-}" ]; then
  say "pushing to $WEIR_REGISTRY"
  args+=(-push "$WEIR_REGISTRY")
fi
"$bin/image" "${args[@]}"
say "wrote $archive"
