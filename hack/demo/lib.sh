# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0

# step says what happens next; bold on a terminal.
step() {
  if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    printf '\n\033[1m%s\033[0m\n' "$*"
  else
    printf '\n%s\n' "$*"
  fi
}

# image_version is a tag that changes with the code, so that a cluster which has
# run older images starts the new ones.
image_version() {
  local v
  v="$(git describe --always --dirty 2>/dev/null || echo dirty)"
  case "$v" in
    *dirty) echo "${v}-$(date +%s)" ;;
    *) echo "$v" ;;
  esac
}
