#!/usr/bin/env bash
# Build helm from its Go module, once: later runs find it in the user's cache. Standard output gets its path.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
key=$(cat "$here/go.mod" "$here/go.sum" "$0" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hearth/helm-$key
if [ ! -x "$cache/helm" ]; then
  echo "building helm, once, in 1 to 5 minutes, into $cache …" >&2
  mkdir -p "$cache"
  cd "$here"
  CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$cache/.helm.new" helm.sh/helm/v4/cmd/helm
  mv "$cache/.helm.new" "$cache/helm"
fi
echo "$cache/helm"
