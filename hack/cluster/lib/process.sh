# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Which processes are ours. A pid alone may be someone else's by now, so each
# is remembered with the time it started.

# started PID prints when it started, in clock ticks since boot. The second
# field, the program's name, may hold spaces; it ends at the last bracket.
started() {
  local stat
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
  stat=${stat##*) }
  # shellcheck disable=SC2086  # words wanted
  set -- $stat
  [ "$1" != Z ] || return 1
  printf '%s' "${20}"
}

remember() { printf '%s %s\n' "$2" "$(started "$2")" >"$state/$1.pid"; }

# pid_of NAME prints the pid if that very process still lives.
pid_of() {
  local pid since
  read -r pid since 2>/dev/null <"$state/$1.pid" || return 1
  [ "$(started "$pid")" = "$since" ] && printf '%s' "$pid"
} 2>/dev/null

child_of() {
  local stat
  for stat in /proc/[0-9]*/stat; do
    stat="$(cat "$stat" 2>/dev/null)" || continue
    [[ ${stat##*) } != ?" $1 "* ]] || { printf '%s' "${stat%% *}"; return; }
  done
}
