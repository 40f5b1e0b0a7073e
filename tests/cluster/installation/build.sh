#!/usr/bin/env bash
# Build what an installation has beside the control plane's and the nodes' programs, once: KEDA's admission webhooks, of the control
# plane's module; kube-router, which enforces NetworkPolicies (it needs Debian's ipset and iptables when it runs); Prometheus with
# its operator, and kube-state-metrics (Debian's Prometheus finds nothing in Kubernetes); OpenTelemetry's collector; and the release of
# KEDA before the one that the control plane's module names, from which a test upgrades.
# Progress goes to standard error; standard output gets the folder of the binaries.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
plane=$here/../controlplane
before=v2.20.2 before_sum=h1:SR60v8uIcelbveS8n/1jcl8tLdBBIbHMxmdOHw8tKqA=
key=$(cat "$plane"/go.* "$here"/{router,monitoring,prometheus,collector}/go.* "$here"/collector/main.go "$0" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hearth/installation-$key
mkdir -p "$cache"
build() { # name package folder-of-its-module
  [ -x "$cache/$1" ] && return
  local began=$SECONDS
  echo "building $1 ($2) …" >&2
  mkdir -p "$(dirname "$cache/$1")"
  (cd "$3" && CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$cache/$1.new" "$2")
  mv "$cache/$1.new" "$cache/$1"
  echo "built $1 in $((SECONDS - began)) s" >&2
}
if [ ! -e "$cache/complete" ]; then
  echo "An installation's programs are built once, in 15 to 30 minutes on 2 cores, into $cache" >&2
  build keda-admission-webhooks github.com/kedacore/keda/v2/cmd/webhooks "$plane"
  build kube-router github.com/cloudnativelabs/kube-router/v2/cmd/kube-router "$here/router"
  build prometheus-operator github.com/prometheus-operator/prometheus-operator/cmd/operator "$here/monitoring"
  build prometheus-config-reloader github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader "$here/monitoring"
  build prometheus github.com/prometheus/prometheus/cmd/prometheus "$here/prometheus" # of a module of its own: it needs an older client
  build kube-state-metrics k8s.io/kube-state-metrics/v2 "$here/monitoring"
  build collector . "$here/collector" # of a module of its own, as everything here that shares no dependencies
  # A module can have one release of KEDA: the one before is built in its own source, whose checksum is checked here.
  downloaded=$(go mod download -json "github.com/kedacore/keda/v2@$before")
  grep -qF "\"Sum\": \"$before_sum\"" <<<"$downloaded" || { echo "KEDA $before: found another checksum than $before_sum: $downloaded" >&2; exit 1; }
  source=$(sed -nE 's/^\t"Dir": "(.*)",$/\1/p' <<<"$downloaded")
  build before/keda-operator ./cmd/operator "$source"
  build before/keda-adapter ./cmd/adapter "$source"
  build before/keda-admission-webhooks ./cmd/webhooks "$source"
  cp -r --no-preserve=mode "$source/config" "$cache/before/keda-config"
  manifests() { # module, its folder of manifests, the folder of what is installed, folder-of-our-module
    cp -r --no-preserve=mode "$(cd "$4" && go list -m -f '{{.Dir}}' "$1")/$2" "$cache/$3"
  }
  manifests github.com/kedacore/keda/v2 config keda-config "$plane"
  manifests github.com/prometheus-operator/prometheus-operator example/prometheus-operator-crd prometheus-operator-crds "$here/monitoring"
  manifests k8s.io/kube-state-metrics/v2 examples/standard kube-state-metrics-manifests "$here/monitoring"
  touch "$cache/complete"
fi
echo "$cache"
