#!/usr/bin/env bash
# Head and jsd in one, value and gradients of hidden states and head, at a large vocabulary: ours within a limit of memory, TRL's chunks, and logits as whole
# tensors. Each in a process of its own, whose peak is what the call added to its memory. Nothing else should run meanwhile.
# Usage: tests/bench/race_fused.sh LIBRARY [--rows 2048] [--width 256] [--vocab 152064] [--threads 2] [--rounds 2] [--memory 64] [--only ours,trl,whole]
# PEERS names the virtual environment that peers.sh made, with --all.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/usage.sh"
library=$(library_of "$@")
python=${PEERS:-$root/build/peers}/bin/python
[ -x "$python" ] || { echo "run tests/bench/peers.sh first" >&2; exit 1; }
OMP_NUM_THREADS=2 DISTILL_LIBRARY=$library PYTHONPATH=$root/bindings/python exec "$python" "$here/race_fused.py" "${@:2}"
