# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

cmd_down() {
  [ -d "$state" ] || { say "not up"; return; }
  [ "$(id -u)" = 0 ] || die "only root can stop the cluster"
  take_lock
  remove_all
  say "down"
}

# remove_all ends the node's processes, and only those, and removes all that
# `up` has made. What it doesn't find it doesn't miss.
remove_all() {
  local name pid
  for name in node lan; do
    pid="$(pid_of "$name")" || continue
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    # A killed first process takes all processes of its namespace with it.
    for _ in $(seq 100); do
      [ -n "$(pid_of "$name")" ] || break
      sleep 0.1
    done
  done
  cgroup_remove
  [ -d "$state" ] || return 0
  # The node's mounts were in its own namespace; one that is in ours was not made by it.
  if grep -qF " $state/" /proc/self/mountinfo; then
    die "something is mounted under $state; it is not removed"
  fi
  rm -rf "$last_logs"
  [ ! -d "$state/log" ] || mv "$state/log" "$last_logs"
  rm -rf --one-file-system "$state"
}
