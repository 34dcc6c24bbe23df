# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034  # read by the files that source this one
#
# What the parts of hack/cluster agree on. Everything made lies under $cache;
# nothing else of the machine is changed but one cgroup subtree, which `down` removes.

cache="${WEIR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir}"
state="$cache/cluster"      # of the running cluster, removed by `down`
last_logs="$cache/cluster-logs" # of the last one, kept for reading
here=/run/weir              # $state as the node sees it: short, and the same on each machine

node=node1
cgroup="weir-$(cksum <<<"$cache" | cut -d" " -f1)" # one for each cache, so clusters don't meet
node_ip=10.200.0.2   lan_ip=10.200.0.1
service_cidr=10.201.0.0/16 service_ip=10.201.0.1 dns_ip=10.201.0.10
cluster_cidr=10.202.0.0/16 pod_cidr=10.202.1.0/24
# Unique local addresses (RFC 4193), used where the kernel speaks IPv6.
node_ip6=fd57:6569:7200::2 lan_ip6=fd57:6569:7200::1
service_cidr6=fd57:6569:7201::/112
cluster_cidr6=fd57:6569:7202::/48 pod_cidr6=fd57:6569:7202:1::/64

say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
die() { printf 'cluster: %s\n' "$*" >&2; exit 1; }

# ipv6 says whether the cluster is dual-stack. WEIR_IPV6=0 makes it IPv4 only.
ipv6() { [ "${WEIR_IPV6:-1}" != 0 ] && [ -e /proc/net/if_inet6 ]; }

# both V4 V6 prints one address or both, as the programs want them.
both() { if ipv6; then printf '%s,%s' "$1" "$2"; else printf '%s' "$1"; fi; }
