#!/usr/bin/env bash
# Build what an installation has beside the control plane's and the nodes' programs, once: KEDA's admission webhooks, of the control
# plane's module, and kube-router, which enforces NetworkPolicies (it needs Debian's ipset and iptables when it runs).
# Progress goes to standard error; standard output gets the folder of the binaries.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
plane=$here/../controlplane
key=$(cat "$plane"/go.* "$here"/router/go.* "$0" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hearth/enforced-$key
mkdir -p "$cache"
build() { # name package folder-of-its-module
  [ -x "$cache/$1" ] && return
  local began=$SECONDS
  echo "building $1 ($2) …" >&2
  (cd "$3" && CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$cache/.$1.new" "$2") && mv "$cache/.$1.new" "$cache/$1"
  echo "built $1 in $((SECONDS - began)) s" >&2
}
if [ ! -e "$cache/complete" ]; then
  echo "KEDA's webhooks and kube-router are built once, in 2 to 4 minutes on 2 cores, into $cache" >&2
  build keda-admission-webhooks github.com/kedacore/keda/v2/cmd/webhooks "$plane"
  build kube-router github.com/cloudnativelabs/kube-router/v2/cmd/kube-router "$here/router"
  # KEDA's own manifests are part of its module.
  cp -r --no-preserve=mode "$(cd "$plane" && go list -m -f '{{.Dir}}' github.com/kedacore/keda/v2)/config" "$cache/keda-config"
  touch "$cache/complete"
fi
echo "$cache"
