# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The one thing the cluster makes in the machine's cgroups: a subtree $cgroup
# that the kubelet puts its pods in. With cgroup v1 it is in each hierarchy.

cgroups=/sys/fs/cgroup
wanted_v1="cpu cpuset memory pids"
wanted_v2="cpu cpuset memory pids"

cgroup_v2() { [ -e "$cgroups/cgroup.controllers" ]; }

# hierarchies TYPE… prints where hierarchies are mounted, each once; one may
# hold several controllers (cpu,cpuacct), and beside those of v1 there may be
# one of type cgroup2 without controllers, in which runc makes folders too.
hierarchies() { awk -v types=" $* " 'index(types, " " $3 " ") {print $2}' /proc/self/mounts | sort -u; }

cgroup_problem() {
  local c
  if cgroup_v2; then
    for c in $wanted_v2; do
      grep -qw "$c" "$cgroups/cgroup.controllers" || { echo "cgroup v2 has no $c controller here"; return; }
      grep -qw "$c" "$cgroups/cgroup.subtree_control" || { echo "+$c" >"$cgroups/cgroup.subtree_control"; } 2>/dev/null ||
        { echo "cgroup v2: the $c controller cannot be enabled in $cgroups (in a container, move its processes into a child cgroup first)"; return; }
    done
  else
    for c in $wanted_v1; do
      [ -w "$cgroups/$c" ] || { echo "no cgroup v2, and no writable cgroup v1 hierarchy $cgroups/$c"; return; }
    done
  fi
}

cgroup_make() {
  local dir
  if cgroup_v2; then
    mkdir -p "$cgroups/$cgroup"
    # What the kernel offers and no one needs (rdma, misc) is not worth a failure.
    for dir in $(cat "$cgroups/$cgroup/cgroup.controllers"); do
      { echo "+$dir" >"$cgroups/$cgroup/cgroup.subtree_control"; } 2>/dev/null || true
    done
    return
  fi
  for dir in $(hierarchies cgroup); do
    mkdir -p "$dir/$cgroup"
    # A new cpuset is empty, and nothing can run in it.
    if [ -e "$dir/$cgroup/cpuset.cpus" ]; then
      cat "$dir/cpuset.cpus" >"$dir/$cgroup/cpuset.cpus"
      cat "$dir/cpuset.mems" >"$dir/$cgroup/cpuset.mems"
    fi
  done
}

# cgroup_remove waits for the kernel to let go of processes just killed.
cgroup_remove() {
  local dir try
  for dir in $(hierarchies cgroup cgroup2); do
    for try in $(seq 50); do
      [ -d "$dir/$cgroup" ] || break
      find "$dir/$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || true
      [ -d "$dir/$cgroup" ] && sleep 0.1
    done
    [ ! -d "$dir/$cgroup" ] || say "could not remove $dir/$cgroup: something still runs in it ($try tries)"
  done
}
