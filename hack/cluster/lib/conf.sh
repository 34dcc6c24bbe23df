# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Configuration files of the node's programs, with paths as the node sees them.

make_conf() {
  mkdir -p "$state/conf/cni"
  : >"$state/conf/resolv.conf" # pods with dnsPolicy Default: no name server, nothing leads out
  containerd_conf >"$state/conf/containerd.toml"
  cni_conf >"$state/conf/cni/10-weir.conflist"
  kubelet_conf >"$state/conf/kubelet.yaml"
  proxy_conf >"$state/conf/kube-proxy.yaml"
}

containerd_conf() {
  cat <<C
version = 3
root = '$here/containerd'
state = '/run/containerd'

[grpc]
  address = '/run/containerd/containerd.sock'

[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = 'weir.local/pause:1'

[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = '$here/bin/runc'
      SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['$here/bin']
    conf_dir = '$here/conf/cni'

[plugins.'io.containerd.internal.v1.opt']
  path = '$here/opt'

[plugins.'io.containerd.nri.v1.nri']
  disable = true
C
}

cni_conf() {
  local ranges="[{\"subnet\": \"$pod_cidr\"}]" routes='{"dst": "0.0.0.0/0"}'
  if ipv6; then
    ranges+=", [{\"subnet\": \"$pod_cidr6\"}]"
    routes+=', {"dst": "::/0"}'
  fi
  cat <<C
{
  "cniVersion": "1.0.0",
  "name": "weir",
  "plugins": [
    {
      "type": "ptp",
      "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [$ranges], "routes": [$routes]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables"}
  ]
}
C
}

# Disk pressure is the machine's business, not this cluster's: thresholds low
# enough that a fairly full disk still works.
kubelet_conf() {
  cat <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $here/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [$dns_ip]
clusterDomain: cluster.local
resolvConf: $here/conf/resolv.conf
enforceNodeAllocatable: [pods]
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
volumePluginDir: $here/volumeplugins
C
}

proxy_conf() {
  cat <<C
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $here/proxy.kubeconfig}
hostnameOverride: $node
clusterCIDR: "$(both "$cluster_cidr" "$cluster_cidr6")"
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
C
}
