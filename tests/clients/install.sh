#!/usr/bin/env bash
# Install and build the clients that can't share Hearth's own environment, once: later runs find them in the user's cache.
# Standard output gets the folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${1:-python3}
built=("$here"/programs/go/* "$here"/programs/java/*)
key=$(cat "$here/requirements.txt" "$here/package.json" "${built[@]}" "$0" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hearth/clients-$key
if [ ! -e "$cache/installed" ]; then
  echo "installing clients (litellm, llama-index, packages for Node, Go and Java), once, in about 5 minutes, into $cache …" >&2
  rm -rf "$cache"
  mkdir -p "$cache"
  "$python" -m venv "$cache/python"
  "$cache/python/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
  cp "$here/package.json" "$cache"
  (cd "$cache" && npm install --silent --no-audit --no-fund --no-package-lock >&2)
  javac -d "$cache/java" "$here/programs/java/Ask.java" >&2
  (cd "$here/programs/go" && go build -modfile=old.mod -o "$cache/go-old" . && go build -o "$cache/go-new" .) >&2
  touch "$cache/installed"
fi
echo "$cache"
