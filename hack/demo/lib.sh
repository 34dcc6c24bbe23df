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
