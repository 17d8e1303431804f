#!/usr/bin/env bash
# Every loss on [4096, 32000] logits, value and gradient: ours, PyTorch's eager and compiled, TRL's, and what memory allows. Nothing else should run
# meanwhile; it takes 10 GB and some minutes (--losses a,b in parts).
# Usage: tests/bench/race_losses.sh LIBRARY [--rows N] [--vocab N] [--threads 2] [--rounds 3] [--losses jsd,tvd] [--no-compile] [--no-trl]
# PEERS names the virtual environment that peers.sh --all made.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/usage.sh"
names=$(sed -n '/^LOSSES = {/,/^}/s/^    "\([a-z_]*\)": .*/\1/p' "$here/race_losses.py")
given=()
for ((i = 2; i <= $#; i++)); do
    [ "${!i}" != --losses ] || { next=$((i + 1)); IFS=, read -ra given <<< "${!next:-}"; }
    [[ ${!i} != --losses=* ]] || IFS=, read -ra given <<< "${!i#--losses=}"
done
for name in "${given[@]}"; do # before torch is asked for
    grep -qx -- "$name" <<< "$names" || wrong "--losses $name: no such loss; there are" $names
done
library=$(library_of "$@")
python=${PEERS:-$root/build/peers}/bin/python
[ -x "$python" ] || { echo "run tests/bench/peers.sh --all first" >&2; exit 1; }
OMP_NUM_THREADS=2 DISTILL_LIBRARY=$library PYTHONPATH=$root/bindings/python exec "$python" "$here/race_losses.py" "${@:2}"
