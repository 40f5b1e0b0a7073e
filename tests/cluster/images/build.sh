#!/usr/bin/env bash
# Build the images of the test bed, and the registry that serves them, once: later runs find them in the user's cache. Progress goes
# to standard error; standard output gets the folder. build.sh [PYTHON [--vllm]]: a Python with Hearth's dependencies, .venv's by
# default; `--vllm`: vLLM for CPUs is one of them.
set -euo pipefail
cd "$(dirname "$0")/../../.."
exec "${1:-.venv/bin/python}" -m tests.cluster.images "${@:2}" </dev/null
