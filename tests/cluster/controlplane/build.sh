#!/usr/bin/env bash
# Build the programs of a real control plane from their Go modules, once: later runs find them in the user's cache.
# Progress goes to standard error; standard output gets the folder of the binaries.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -nE 's/^\tk8s.io\/kubernetes (v[0-9.]+).*/\1/p' "$here/go.mod")
IFS=. read -r major minor _ <<<"${version#v}"
key=$(cat "$here"/go.* "$here"/dns/* "$0" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hearth/controlplane-$key
flags="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=$major -X k8s.io/component-base/version.gitMinor=$minor"
mkdir -p "$cache"
build() { # name package [folder of its module]
  [ -x "$cache/$1" ] && return
  local began=$SECONDS
  echo "building $1 ($2) …" >&2
  CGO_ENABLED=0 go build -C "${3:-$here}" -trimpath -ldflags="$flags" -o "$cache/.$1.new" "$2"
  mv "$cache/.$1.new" "$cache/$1"
  echo "built $1 in $((SECONDS - began)) s" >&2
}
if [ ! -e "$cache/complete" ]; then
  echo "The control plane is built once, in 9 to 20 minutes on 2 cores, into $cache" >&2
  build etcd go.etcd.io/etcd/server/v3
  build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
  build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
  build kube-scheduler k8s.io/kubernetes/cmd/kube-scheduler
  build kube-proxy k8s.io/kubernetes/cmd/kube-proxy
  build kubectl k8s.io/kubernetes/cmd/kubectl
  build keda-operator github.com/kedacore/keda/v2/cmd/operator
  build keda-adapter github.com/kedacore/keda/v2/cmd/adapter
  build coredns . "$here/dns"  # a module of its own: its dependencies are not the control plane's
  # KEDA's CRDs are part of its module; the metrics adapter finds them applied.
  mkdir -p "$cache/keda-crds"
  install -m 644 "$(cd "$here" && go list -m -f '{{.Dir}}' github.com/kedacore/keda/v2)"/config/crd/bases/*.yaml "$cache/keda-crds/"
  touch "$cache/complete"
fi
echo "$cache"
