#!/usr/bin/env bash
# The peers of the races in a virtual environment: torch 2.13 for the CPU and tokenizers; with --all transformers and TRL as well.
# Usage: tests/bench/peers.sh [--all] [FOLDER], build/peers unless said otherwise.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/bench/usage.sh"
packages=("torch==2.13.0" numpy tokenizers)
if [ "${1:-}" = --all ]; then
    packages+=("transformers==5.24.*" "trl==1.16.*" datasets)
    shift
fi
case ${1:-} in -*) wrong "unknown option $1" ;; esac
[ $# -le 1 ] || wrong "unexpected argument $2"
venv=${1:-$root/build/peers}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet "${packages[@]}"
"$venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
