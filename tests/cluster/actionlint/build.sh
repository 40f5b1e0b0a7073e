#!/usr/bin/env bash
# Build actionlint from its Go module, once: later runs find it in the user's cache. Standard output gets its path.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
key=$(cat "$here/go.mod" "$here/go.sum" "$0" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hearth/actionlint-$key
if [ ! -x "$cache/actionlint" ]; then
  echo "building actionlint, once, in half a minute, into $cache …" >&2
  mkdir -p "$cache"
  cd "$here"
  CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$cache/.actionlint.new" github.com/rhysd/actionlint/cmd/actionlint
  mv "$cache/.actionlint.new" "$cache/actionlint"
fi
echo "$cache/actionlint"
