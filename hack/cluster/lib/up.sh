# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

cmd_up() {
  local reason
  [ -z "$(pid_of node)" ] || { say "already up"; return; }
  if [ "${WEIR_APT:-}" = 1 ] && [ -n "$(missing_packages)" ]; then
    mkdir -p "$cache"
    # shellcheck disable=SC2046  # a list of words
    install_or_die "to start a cluster" $(missing_packages)
  fi
  reason="$(why_not)"
  [ -z "$reason" ] || die "a cluster cannot be started here: $reason"
  build_all
  take_lock
  [ -z "$(pid_of node)" ] || { say "already up"; return; }
  remove_all # what a crash or a reboot has left
  trap 'failed "interrupted"' INT TERM
  ipv6 || say "IPv4 only: $([ -e /proc/net/if_inet6 ] && echo "WEIR_IPV6=0 is set" || echo "this kernel has no IPv6")"
  lay_out
  start_node
  wait_until "the API server answers" 90 test -e "$state/apiserver.ready"
  cmd_kubectl apply -f "$state/conf/coredns.yaml" >"$state/log/coredns-apply.log" 2>&1 || failed "CoreDNS could not be applied: $(cat "$state/log/coredns-apply.log")"
  wait_until "the node is Ready" 90 node_ready
  wait_until "pods can be made (the default ServiceAccount is there)" 60 quietly cmd_kubectl get serviceaccount default
  wait_until "CoreDNS is ready" 120 quietly cmd_kubectl rollout status deployment/coredns -n kube-system --timeout=1s
  trap - INT TERM
  say "up: Kubernetes $(awk '$1 == "k8s.io/kubernetes" {print $2; exit}' "$root/tools/hyper/go.mod"), $(ipv6 && echo dual-stack || echo "IPv4 only"); try $0 kubectl get pods -A"
}

take_lock() {
  mkdir -p "$cache"
  exec 9>"$cache/.cluster.lock"
  flock -n 9 || { say "waiting for another up or down"; flock 9; }
}

# lay_out writes all that the node reads.
lay_out() {
  local component program
  mkdir -p "$state/log" "$state/bin"
  echo "$cgroup" >"$state/cgroup.name"
  for component in hyper containerd runc cni helm; do
    for program in "$(bin_dir "$component")"/*; do ln -s "$program" "$state/bin/"; done
  done
  cp "$(bin_dir nodeimages)/node-images.tar" "$state/"
  make_pki # its own words are in log/pki.log
  make_conf
  sed "s/@DNS_IP@/$dns_ip/" "$root/manifests/coredns.yaml" >"$state/conf/coredns.yaml"
  printf 'nameserver %s\nsearch svc.cluster.local cluster.local\noptions timeout:2\n' "$dns_ip" >"$state/conf/lan-resolv.conf"
}

start_node() {
  say "starting the node"
  setsid unshare --net "$root/lib/lan.sh" >"$state/log/node.log" 2>&1 </dev/null 8>&- 9>&- &
  local starter=$! i
  for i in $(seq 100); do
    [ ! -e "$state/lan.ready" ] || return 0
    kill -0 "$starter" 2>/dev/null || break
    sleep 0.1
  done
  failed "the node did not start ($i tries): $(tail -n 5 "$state/log/node.log")"
}

node_ready() {
  [ "$(cmd_kubectl get node "$node" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]
}

quietly() { "$@" >/dev/null 2>&1; }

# wait_until WHAT SECONDS COMMAND… waits for a command to succeed, but not when
# a program of the node has ended.
wait_until() {
  local what=$1 end=$((SECONDS + $2)) next=$((SECONDS + 10))
  shift 2
  until "$@"; do
    [ -n "$(pid_of node)" ] || failed "the node has ended: $(tail -n 5 "$state/log/node.log")"
    [ ! -e "$state/stopped" ] || failed "$(cat "$state/stopped"), its last lines:
$(awk '{print $1}' "$state/stopped" | while read -r name; do tail -n 8 "$state/log/$name.log"; done)"
    [ $SECONDS -lt $end ] || failed "gave up waiting until $what"
    [ $SECONDS -lt $next ] || { say "  waiting until $what"; next=$((SECONDS + 10)); }
    sleep 0.2
  done
  say "$what"
}

# failed takes down what has come up, and keeps the logs.
failed() {
  trap - INT TERM
  remove_all
  die "$1
The logs are in $last_logs."
}
