#!/usr/bin/env bash
# The peers of race.sh in a virtual environment: torch 2.13 for the CPU. Usage: tests/bench/peers.sh [FOLDER], build/peers unless said otherwise.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${1:-$root/build/peers}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet "torch==2.13.0" numpy
"$venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
