# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Builds components into $cache/bin/<component>/<key>, each whole or not at all.

# key COMPONENT is a hash over all that decides what comes out.
key() {
  [ -n "${go_id:-}" ] || go_id="$(go env GOVERSION GOOS GOARCH)"
  if [ "$1" = nodeimages ]; then
    printf '%s\n' "$(key image)" "$(key pause)" "$(key coredns)"
  else
    printf '%s\n' "$go_id"
    find "$(module "$1")" -maxdepth 1 \( -name 'go.*' -o -name '*.go' ! -name '*_test.go' \) -print0 | LC_ALL=C sort -z |
      xargs -0 cat "$root/lib/recipes.sh"
  fi | sha256sum | cut -c1-16
}

# module COMPONENT prints the folder of its Go module.
module() { if [ "$1" = image ]; then echo "$root/../image"; else echo "$root/tools/$1"; fi; }

bin_dir() { printf '%s/bin/%s/%s' "$cache" "$1" "$(key "$1")"; }

# build COMPONENT… builds what is missing and prints to stderr what it does.
build() {
  local component dir missing=()
  command -v go >/dev/null || die "the go command is missing: install Go, https://go.dev/doc/install"
  for component in "$@"; do
    dir="$(bin_dir "$component")"
    if [ -d "$dir" ]; then touch -c "$dir"; else missing+=("$component"); fi
  done
  if [ ${#missing[@]} -eq 0 ]; then
    say "cached: $*"
    return
  fi
  mkdir -p "$cache/bin"
  exec 8>"$cache/bin/.lock"
  flock -n 8 || { say "waiting for another build in $cache"; flock 8; }
  [[ " ${missing[*]} " != *" runc "* ]] || need_for_runc
  for component in "${missing[@]}"; do build_one "$component"; done
  exec 8>&-
}

build_one() {
  local component=$1 dir about="about_$1" log
  dir="$(bin_dir "$component")"
  [ ! -d "$dir" ] || return 0 # another build has made it meanwhile
  mkdir -p "$cache/bin/$component"
  log="$cache/bin/$component/build.log"
  say "building $component: ${!about}"
  rm -rf "$dir.new"
  mkdir "$dir.new"
  step "$component" "$log" build_here "$component" "$dir.new" ||
    die "building $component failed; the whole log is $log, its end:
$(tail -n 20 "$log")"
  mv "$dir.new" "$dir"
  forget_old "$component"
}

build_here() {
  # shellcheck disable=SC2034  # read by the recipes
  local out=$2
  if [ "$1" != nodeimages ]; then
    cd "$(module "$1")"
    GOWORK=off go mod download
  fi
  "recipe_$1"
}

# forget_old keeps the two newest builds of a component: the one just made and
# the one that a running cluster or another work tree may use.
forget_old() {
  local old
  find "$cache/bin/$1" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | tail -n +3 |
    while read -r _ old; do rm -rf "$old"; done
}

# step LABEL LOG COMMAND… runs a command with its output in a log, and tells
# every 15 s that it still runs.
step() {
  local label=$1 log=$2 start=$SECONDS next pid status=0
  shift 2
  # A subshell: `set -e` is off in what stands left of `||`, and is wanted here.
  (set -e; "$@") >"$log" 2>&1 8>&- &
  pid=$!
  # A background job of a script ignores Ctrl-C.
  # shellcheck disable=SC2064  # now: the pid is known
  trap "kill $pid 2>/dev/null; exit 130" INT TERM
  next=$((SECONDS + 15))
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.1
    [ $SECONDS -lt $next ] && continue
    next=$((SECONDS + 15))
    say "  $label: $((SECONDS - start)) s; $(grep -c '^[a-z0-9._-]*/' "$log" || true) packages compiled so far, the rest comes from the build cache"
  done
  wait "$pid" || status=$?
  trap - INT TERM
  return $status
}

# missing_for_runc prints the Debian packages that cgo and libseccomp need.
missing_for_runc() {
  command -v gcc >/dev/null || printf 'gcc libc6-dev '
  command -v pkg-config >/dev/null || printf 'pkg-config '
  pkg-config --exists libseccomp 2>/dev/null || printf 'libseccomp-dev '
}

need_for_runc() {
  local missing
  missing="$(missing_for_runc)"
  # shellcheck disable=SC2086  # a list of words
  [ -z "$missing" ] || install_or_die "to build runc" $missing
}

# install_or_die WHY PACKAGE… installs Debian packages if WEIR_APT=1 says that
# it may; else it says which are missing.
install_or_die() {
  local why=$1
  shift
  [ "${WEIR_APT:-}" = 1 ] ||
    die "missing $why; install with: apt-get install -y $* (or set WEIR_APT=1 and it is done for you)"
  say "installing $*"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } \
    >"$cache/apt.log" 2>&1 || die "apt-get install $* failed; its output is $cache/apt.log"
}
