# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The one thing the cluster makes in the machine's cgroups: a subtree $cgroup
# that the kubelet puts its pods in. With cgroup v1 it is in each hierarchy.

cgroups=/sys/fs/cgroup
wanted="cpu cpuset memory pids"

cgroup_v2() { [ -e "$cgroups/cgroup.controllers" ]; }

# hierarchies TYPE… prints where hierarchies are mounted, each once; one may
# hold several controllers (cpu,cpuacct), and beside those of v1 there may be
# one of type cgroup2 without controllers, in which runc makes folders too.
hierarchies() { awk -v types=" $* " 'index(types, " " $3 " ") {print $2}' /proc/self/mounts | sort -u; }

cgroup_problem() {
  local c
  for c in $wanted; do
    if ! cgroup_v2; then
      [ -w "$cgroups/$c" ] || { echo "no cgroup v2, and no writable cgroup v1 hierarchy $cgroups/$c"; return; }
    elif ! grep -qw "$c" "$cgroups/cgroup.controllers"; then
      echo "cgroup v2 has no $c controller here"
      return
    # The root of all cgroups, which alone has no type, may hold processes and children with controllers.
    elif ! grep -qw "$c" "$cgroups/cgroup.subtree_control" && [ -e "$cgroups/cgroup.type" ] && [ -s "$cgroups/cgroup.procs" ]; then
      echo "cgroup v2: $c cannot be enabled below $cgroups while processes are in it (in a container, move them into a child cgroup first)"
      return
    fi
  done
}

cgroup_make() { if cgroup_v2; then cgroup_make_v2; else cgroup_make_v1; fi; }

# The kubelet wants every controller it knows that the root has. What was off
# is noted, for cgroup_remove to turn off again.
cgroup_make_v2() {
  local c
  mkdir -p "$cgroups/$cgroup"
  for c in $(<"$cgroups/cgroup.controllers"); do
    if ! grep -qw "$c" "$cgroups/cgroup.subtree_control"; then
      { echo "+$c" >"$cgroups/cgroup.subtree_control"; } 2>/dev/null || continue
      echo "$c" >>"$state/cgroup.enabled"
    fi
    # Some (rdma, misc) are of no use to anyone here and not worth a failure.
    { echo "+$c" >"$cgroups/$cgroup/cgroup.subtree_control"; } 2>/dev/null || true
  done
}

cgroup_make_v1() {
  local dir
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
  local dir try c cgroup=$cgroup
  # Whoever stops the cluster may name the cache otherwise than who started it.
  [ ! -e "$state/cgroup.name" ] || read -r cgroup <"$state/cgroup.name"
  for dir in $(hierarchies cgroup cgroup2); do
    for try in $(seq 50); do
      [ -d "$dir/$cgroup" ] || break
      find "$dir/$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || true
      [ -d "$dir/$cgroup" ] && sleep 0.1
    done
    [ ! -d "$dir/$cgroup" ] || say "could not remove $dir/$cgroup: something still runs in it ($try tries)"
  done
  [ ! -e "$state/cgroup.enabled" ] || while read -r c; do
    { echo "-$c" >"$cgroups/cgroup.subtree_control"; } 2>/dev/null || true
  done <"$state/cgroup.enabled"
}
