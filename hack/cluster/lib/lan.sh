#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Holds the network namespace of the LAN: a bridge, the address of a client on
# it, and the node as its neighbour. The namespace has no name and no way out;
# it ends with this process, which ends with the node.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=lib/settings.sh
. "$root/lib/settings.sh"
# shellcheck source=lib/process.sh
. "$root/lib/process.sh"

ip link set lo up
ip link add br0 type bridge
ip addr add "$lan_ip/24" dev br0
if ipv6; then
  echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
  ip addr add "$lan_ip6/64" dev br0 nodad
fi
ip link set br0 up

unshare --mount --propagation private --pid --fork --kill-child=KILL --mount-proc --net --uts "$root/lib/node.sh" &
parent=$!
node_pid=""
for _ in $(seq 200); do
  node_pid="$(child_of "$parent")"
  # Before unshare's child has become the script, its namespaces may not be there yet.
  [ -n "$node_pid" ] && grep -q node.sh "/proc/$node_pid/cmdline" 2>/dev/null && break
  sleep 0.02
done
[ -n "$node_pid" ] || { echo "the node's first process did not start"; exit 1; }
remember lan $$
remember node "$node_pid"

ip link add node type veth peer name eth0 netns "$node_pid"
ip link set node master br0 up
ip route add "$cluster_cidr" via "$node_ip"
ip route add "$service_cidr" via "$node_ip"
if ipv6; then
  ip -6 route add "$cluster_cidr6" via "$node_ip6"
  ip -6 route add "$service_cidr6" via "$node_ip6"
fi
touch "$state/lan.ready"
wait "$parent"
