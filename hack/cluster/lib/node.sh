#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# PID 1 of the node, in mount, pid, network and UTS namespaces of its own.
# When it ends, the kernel ends every process of the node.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=lib/settings.sh
. "$root/lib/settings.sh"
# shellcheck source=lib/cgroup.sh
. "$root/lib/cgroup.sh"

prepare_files() {
  hostname "$node"
  mount --make-rshared /
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/containerd /run/lock "$here"
  mount --bind "$state" "$here"
  # Overlay mounts can't lie on an overlay, as the disk of a container is.
  if [ "$(stat -f -c %T "$state")" = overlayfs ]; then
    mkdir -p "$here/containerd"
    mount -t tmpfs tmpfs "$here/containerd"
  fi
  mkdir -p "$here"/{kubelet,containerd,etcd,varlog,opt,volumeplugins}
  mount --bind "$here/varlog" /var/log
  # From here on only names under $here and the machine's programs are used.
  export PATH="$here/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

prepare_network() {
  local try
  ip link set lo up
  for try in $(seq 200); do
    ip link show eth0 >/dev/null 2>&1 && break
    [ "$try" -lt 200 ] || { echo "no eth0 was given to the node"; exit 1; }
    sleep 0.05
  done
  echo 1 >/proc/sys/net/ipv4/ip_forward
  ip addr add "$node_ip/24" dev eth0
  if ipv6; then
    echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
    # Nobody else is on this link: an address need not be probed for a second first.
    echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
    echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
    ip addr add "$node_ip6/64" dev eth0 nodad
  fi
  ip link set eth0 up
  # Nothing leads out, and who tries learns it at once, each time.
  echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
  [ ! -e /proc/sys/net/ipv6/icmp/ratelimit ] || echo 0 >/proc/sys/net/ipv6/icmp/ratelimit
  ip route add unreachable default
  ! ipv6 || ip -6 route add unreachable default
}

declare -A program # by pid

start() {
  local name=$1
  shift
  "$@" >"$here/log/$name.log" 2>&1 &
  program[$!]=$name
}

# The kubelet runs in one more mount namespace. In it files of its own stand in
# for six settings of the whole machine's kernel that it would change, and what
# it writes to /var/lib/kubelet (a path that it can't be talked out of) is kept
# in memory. Its other mounts are shared with containerd as usual.
contained_kubelet() {
  # shellcheck disable=SC2016  # the inner shell expands it
  exec unshare --mount --propagation unchanged bash -euc '
    mount --make-rprivate /proc
    mkdir -p /run/varlib/upper /run/varlib/work
    mount -t overlay -o lowerdir=/var/lib,upperdir=/run/varlib/upper,workdir=/run/varlib/work overlay /var/lib
    mount --make-private /var/lib
    for s in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
      [ -e /proc/sys/$s ] || continue
      mkdir -p /run/sysctl/${s%/*}
      cat /proc/sys/$s >/run/sysctl/$s
      mount --bind /run/sysctl/$s /proc/sys/$s
    done
    exec "$@"' kubelet kubelet "$@"
}

control_plane() {
  local pki="$here/pki"
  start etcd etcd --data-dir "$here/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
  start kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --advertise-address="$node_ip" --secure-port=6443 \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --token-auth-file="$pki/tokens.csv" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --service-cluster-ip-range="$(both "$service_cidr" "$service_cidr6")" --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy --requestheader-username-headers=X-Remote-User \
    --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" --enable-aggregator-routing=true
  until kubectl --kubeconfig "$here/admin.kubeconfig" get --raw /readyz >/dev/null 2>&1; do check; sleep 0.1; done
  touch "$here/apiserver.ready"
  local to="--authentication-kubeconfig=$here/controller-manager.kubeconfig --authorization-kubeconfig=$here/controller-manager.kubeconfig"
  # shellcheck disable=SC2086  # two words
  start kube-controller-manager kube-controller-manager --kubeconfig="$here/controller-manager.kubeconfig" $to --leader-elect=false \
    --use-service-account-credentials=true --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" --bind-address=127.0.0.1 \
    --allocate-node-cidrs=false --cluster-cidr="$(both "$cluster_cidr" "$cluster_cidr6")" --flex-volume-plugin-dir="$here/volumeplugins"
  start kube-scheduler kube-scheduler --kubeconfig="$here/scheduler.kubeconfig" --authentication-kubeconfig="$here/scheduler.kubeconfig" \
    --authorization-kubeconfig="$here/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
}

# check notes which of the node's programs has ended, for `up` and `status`.
check() {
  local pid
  for pid in "${!program[@]}"; do
    kill -0 "$pid" 2>/dev/null || stopped "$pid"
  done
}

stopped() {
  local status=0
  wait "$1" || status=$?
  echo "${program[$1]} ended with status $status" >>"$here/stopped"
  unset "program[$1]"
}

prepare_files
cgroup_make
prepare_network
start containerd containerd -c "$here/conf/containerd.toml"
control_plane
until ctr -a /run/containerd/containerd.sock version >/dev/null 2>&1; do check; sleep 0.1; done
ctr -a /run/containerd/containerd.sock -n k8s.io images import "$here/node-images.tar" >"$here/log/images.log" 2>&1
start kubelet contained_kubelet --config="$here/conf/kubelet.yaml" --kubeconfig="$here/kubelet.kubeconfig" \
  --root-dir="$here/kubelet" --cert-dir="$here/kubelet/pki" --hostname-override="$node" --node-ip="$(both "$node_ip" "$node_ip6")"
start kube-proxy kube-proxy --config="$here/conf/kube-proxy.yaml"
# Children that are not ours (shims whose parent has left) are reaped by bash.
while :; do
  check
  sleep 1
done
