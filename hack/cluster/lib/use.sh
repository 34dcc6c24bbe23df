# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Commands that use a cluster that is up.

# pid_or_die NAME prints the pid of node or lan.
pid_or_die() {
  local pid
  pid="$(pid_of "$1")" || pid=""
  [ -n "$pid" ] || die "the cluster is not up; start it with: $0 up"
  [ "$(id -u)" = 0 ] || die "only root can enter the cluster's namespaces"
  printf '%s' "$pid"
}

# kubectl and helm keep the caller's files and stand in the node's network. When
# they are all that was asked for, they take this shell's place (replace=exec),
# so that a signal meets them and not a shell that waits for them.
cmd_kubectl() {
  local pid
  pid="$(pid_or_die node)"
  ${replace:-} nsenter -t "$pid" -n "$state/bin/kubectl" --kubeconfig "$state/admin.kubeconfig" "$@"
}

cmd_helm() {
  local pid
  pid="$(pid_or_die node)"
  export KUBECONFIG="$state/admin.kubeconfig"
  export HELM_CACHE_HOME="$state/helm/cache" HELM_CONFIG_HOME="$state/helm/config" HELM_DATA_HOME="$state/helm/data"
  ${replace:-} nsenter -t "$pid" -n "$state/bin/helm" "$@"
}

cmd_kubeconfig() {
  pid_or_die node >/dev/null
  printf '%s\n' "$state/admin.kubeconfig"
}

cmd_load() {
  local file out
  [ $# -gt 0 ] || die "which archives? Say: cluster load FILE…"
  pid_or_die node >/dev/null
  for file in "$@"; do
    [ -r "$file" ] || die "cannot read $file"
    out="$(cmd_exec_node ctr -a /run/containerd/containerd.sock -n k8s.io images import - <"$file" 2>&1)" ||
      die "$file could not be loaded (is it a docker or OCI archive?): $out"
    # ctr cuts long names off, so the archive is asked what was in it.
    out="$(tar -xOf "$file" manifest.json 2>/dev/null | grep -o '"RepoTags":\[[^]]*\]' | cut -d'"' -f4 | paste -sd' ')" || true
    say "loaded ${out:-$file}"
  done
}

# cmd_exec_node runs a command where the node's programs run.
cmd_exec_node() {
  local pid
  [ $# -gt 0 ] || die "which command? Say: cluster exec-node CMD…"
  pid="$(pid_or_die node)"
  PATH="$here/bin:$PATH" ${replace:-} nsenter -t "$pid" -m -u -n -p "$@"
}

# cmd_lan runs a command as a client on the LAN: same files, another network,
# the cluster's names. GOPROXY=off makes the go command say at once that a
# module is missing instead of looking for it where no network is.
cmd_lan() {
  local pid
  [ $# -gt 0 ] || die "which command? Say: cluster lan CMD…"
  pid="$(pid_or_die lan)"
  export KUBECONFIG="$state/admin.kubeconfig" GOPROXY=off PATH="$PATH:$state/bin"
  # shellcheck disable=SC2016  # the inner shell expands it
  exec nsenter -t "$pid" -n unshare --mount --propagation slave bash -c '
    [ ! -e /etc/resolv.conf ] || mount --bind "$0" /etc/resolv.conf
    exec "$@"' "$state/conf/lan-resolv.conf" "$@"
}

cmd_status() {
  if [ -z "$(pid_of node)" ]; then
    echo "The cluster is not up."
    exit 1
  fi
  echo "The cluster is up since $(stat -c %y "$state/lan.ready" | cut -d. -f1); its state is in $state."
  [ ! -e "$state/stopped" ] || sed 's/^/Stopped: /; s/$/; see cluster logs/' "$state/stopped"
  cmd_kubectl get nodes -o wide
  cmd_kubectl get pods -A
}

cmd_logs() {
  local from="$state/log"
  [ -d "$from" ] || from="$last_logs"
  [ -d "$from" ] || die "there are no logs yet"
  if [ $# -eq 0 ]; then
    (cd "$from" && printf '%s\n' *.log | sed 's/\.log$//')
  elif [ -e "$from/$1.log" ]; then
    cat "$from/$1.log"
  else
    die "no log of \"$1\"; there are: $(cd "$from" && printf '%s ' *.log | sed 's/\.log//g')"
  fi
}
