# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Can a cluster be started here? why_not prints the first reason against it in
# one line, and nothing when there is none.

why_not() {
  if [ "$(uname -s)" != Linux ]; then
    echo "this is $(uname -s); the cluster runs in Linux namespaces"
  elif [ "$(id -u)" != 0 ]; then
    echo "you are not root; namespaces, mounts and networks of the node need it (try sudo -E)"
  elif ! command -v go >/dev/null; then
    echo "the go command is missing (under sudo it may not be in PATH)"
  elif [ -n "$(missing_packages)" ]; then
    # With WEIR_APT=1 it is no reason; the rest can be known afterwards only.
    # shellcheck disable=SC2046  # a list of words
    [ "${WEIR_APT:-}" = 1 ] || echo "missing programs; install them (or set WEIR_APT=1) with: apt-get install -y" $(missing_packages)
  elif ! unshare --mount --propagation private --pid --fork --net --uts true 2>/dev/null; then
    echo "the kernel refuses new mount, pid or network namespaces (in a container, run it privileged)"
  elif ! unshare --net nft -f - <<<'table inet t { chain c { type nat hook prerouting priority dstnat; tcp dport 1 redirect to :2; }; }' 2>/dev/null; then
    echo "the kernel has no nftables NAT (CONFIG_NF_TABLES, CONFIG_NFT_NAT and CONFIG_NFT_REDIR)"
  elif ! unshare --net sh -c 'ip link add name br0 type bridge && ip link add name veth0 type veth peer name veth1' 2>/dev/null; then
    echo "the kernel has no bridge or veth network devices"
  elif ! grep -qw overlay /proc/filesystems && ! { modprobe overlay 2>/dev/null && grep -qw overlay /proc/filesystems; }; then
    echo "the kernel has no overlay filesystem"
  else
    cgroup_problem
  fi
}

# missing_packages prints what is missing to run a cluster, and to build what is
# not built yet.
# shellcheck disable=SC2086
missing_packages() {
  local all
  all="$(missing_tools)"
  [ -d "$(bin_dir runc)" ] || all+=" $(missing_for_runc)"
  echo $all # word by word: empty when there are none
}

# missing_tools prints the Debian packages of the host's programs that are not there.
missing_tools() {
  local tool package missing=""
  for tool in unshare:util-linux nsenter:util-linux setsid:util-linux flock:util-linux mount:mount ip:iproute2 nft:nftables openssl:openssl; do
    package=${tool#*:}
    command -v "${tool%:*}" >/dev/null || [[ " $missing " == *" $package "* ]] || missing+=" $package"
  done
  printf '%s' "${missing# }"
}

cmd_can() {
  local reason
  reason="$(why_not)"
  if [ -n "$reason" ]; then
    echo "A cluster cannot be started here: $reason."
    exit 1
  fi
  echo "A cluster can be started here."
}
