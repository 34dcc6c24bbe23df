# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0

# patiently LABEL COMMAND… runs a command that may be silent for minutes, and
# tells every 15 s on stderr that it still runs.
patiently() {
  local label=$1 from=$SECONDS beat status=0
  shift
  # sleep keeps no pipe open that a reader waits for the end of.
  (while sleep 15 <&- >&- 2>&-; do printf '  %s: %d s so far\n' "$label" "$((SECONDS - from))" >&2; done) &
  beat=$!
  # shellcheck disable=SC2064  # now: the pid is known
  trap "kill $beat 2>/dev/null" EXIT
  "$@" || status=$?
  kill "$beat" 2>/dev/null || true
  wait "$beat" 2>/dev/null || true
  trap - EXIT
  return $status
}
