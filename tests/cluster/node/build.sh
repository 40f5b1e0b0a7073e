#!/usr/bin/env bash
# Build the programs of a node from their Go modules, once: later runs find them in the user's cache. runc needs gcc,
# pkg-config and libseccomp-dev. Progress goes to standard error; standard output gets the folder of the binaries.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
plane=$here/../controlplane # the kubelet is of its module: one version of Kubernetes, and one cache of what is compiled
version=$(sed -nE 's/^\tk8s.io\/kubernetes (v[0-9.]+).*/\1/p' "$plane/go.mod")
key=$(cat "$here"/go.* "$here"/kubelet.* "$here"/runc/go.* "$plane"/go.* "$0" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hearth/node-$key
flags="-s -w -X k8s.io/component-base/version.gitVersion=$version"
mkdir -p "$cache"
build() { # name package folder-of-its-module [C? 0 or 1] [argument …]
  [ -x "$cache/$1" ] && return
  local began=$SECONDS
  echo "building $1 ($2) …" >&2
  CGO_ENABLED=${4:-0} go build -C "$3" -trimpath -ldflags="$flags" "${@:5}" -o "$cache/.$1.new" "$2"
  mv "$cache/.$1.new" "$cache/$1"
  echo "built $1 in $((SECONDS - began)) s" >&2
}
if [ ! -e "$cache/complete" ]; then
  echo "A node's programs are built once, in 3 to 6 minutes on 2 cores, into $cache" >&2
  build containerd github.com/containerd/containerd/v2/cmd/containerd "$here"
  build containerd-shim-runc-v2 github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2 "$here"
  build ctr github.com/containerd/containerd/v2/cmd/ctr "$here"
  for plugin in ipam/host-local main/ptp main/loopback; do
    build "${plugin##*/}" "github.com/containernetworking/plugins/plugins/$plugin" "$here"
  done
  build local-path-provisioner github.com/rancher/local-path-provisioner "$here"
  build runc github.com/opencontainers/runc "$here/runc" 1 -tags=seccomp
  # What the kubelet needs beside them goes into a copy: in go.mod itself it would be one more cause to build all of them.
  { cat "$plane/go.mod" && cat "$here/kubelet.require"; } >"$cache/kubelet.mod"
  cat "$plane/go.sum" "$here/kubelet.sum" >"$cache/kubelet.sum"
  build kubelet k8s.io/kubernetes/cmd/kubelet "$plane" 0 -modfile="$cache/kubelet.mod"
  touch "$cache/complete"
fi
echo "$cache"
