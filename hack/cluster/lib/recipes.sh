# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# How each component is built: its module is tools/<component>, its result the
# folder $out (image: the module hack/image). This file is part of every component's key, so an edit builds
# all of them again.

components="hyper containerd runc cni coredns helm pause image nodeimages"

# compile PACKAGE OUTPUT [TAGS [LDFLAGS]]: the same flags everywhere, or the Go
# build cache holds every dependency twice.
compile() {
  GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED="${cgo:-0}" \
    go build -v -trimpath ${3:+-tags "$3"} -ldflags "-s -w ${4:-}" -o "$out/$2" "$1"
}

# version_of MODULE prints the version that go.mod requires.
version_of() { awk -v m="$1" '$1 == m && $2 ~ /^v/ {print $2; exit}' go.mod; }

about_hyper="kube-apiserver, etcd, kubectl and the node's Kubernetes programs; 5 to 7 minutes on 2 cores when nothing is cached"
recipe_hyper() {
  local version minor ld="" package name
  version="$(version_of k8s.io/kubernetes)"
  minor="${version#v1.}"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    ld+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=archive"
  done
  compile . hyper "" "$ld"
  for name in kube-apiserver etcd kubectl kube-controller-manager kube-scheduler kubelet kube-proxy; do
    ln -s hyper "$out/$name"
  done
}

about_containerd="containerd, ctr and the runc shim; about 1 minute"
recipe_containerd() {
  local module=github.com/containerd/containerd/v2 tags="urfave_cli_no_docs osusergo netgo static_build" version
  version="$(version_of "$module")"
  compile "$module/cmd/containerd" containerd "$tags" "-X $module/version.Version=${version#v}"
  compile "$module/cmd/ctr" ctr "$tags"
  compile "$module/cmd/containerd-shim-runc-v2" containerd-shim-runc-v2 "$tags no_grpc"
}

# Without cgo and libseccomp, pods with seccompProfile RuntimeDefault fail.
about_runc="runc; some seconds"
recipe_runc() {
  local cgo=1
  compile github.com/opencontainers/runc runc "seccomp urfave_cli_no_docs osusergo netgo"
}

about_cni="CNI plugins; some seconds"
recipe_cni() {
  local plugin
  for plugin in ipam/host-local main/loopback main/ptp meta/portmap; do
    compile "github.com/containernetworking/plugins/plugins/$plugin" "${plugin#*/}"
  done
}

about_coredns="CoreDNS; about 1 minute"
recipe_coredns() { compile . coredns; }

about_helm="helm; about 1 minute"
recipe_helm() {
  local module=helm.sh/helm/v4 version
  version="$(version_of "$module")"
  compile "$module/cmd/helm" helm "" "-X $module/internal/version.version=$version"
}

about_pause="the pause container; some seconds"
recipe_pause() { compile . pause; }

about_image="the image packer; some seconds"
recipe_image() { compile . image; }

# The images that each node needs, packed from components built before.
about_nodeimages="images of pause and CoreDNS"
recipe_nodeimages() {
  "$(bin_dir image)/image" -o "$out/node-images.tar" \
    -image weir.local/pause:1 -add "$(bin_dir pause)/pause=/app/pause" \
    -image weir.local/coredns:1 -add "$(bin_dir coredns)/coredns=/app/coredns"
}
