#!/usr/bin/env bash
# One step of distillation, ours and PyTorch's, in turns: the median of each and the ratios as a table. Nothing else should run meanwhile: where it
# does, the CPU time says more than the clock, of one thread most (threads that wait for each other are counted as busy).
# Usage: tests/bench/race.sh LIBRARY [BATCH SEQUENCE [ROUNDS]]     4 windows of 256 tokens and 3 rounds unless said otherwise
# PEERS names the virtual environment that peers.sh made; RACE_THREADS the threads of each, 2 unless said otherwise.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../.." && pwd)
library=$(realpath "${1:?LIBRARY}") batch=${2:-4} sequence=${3:-256} rounds=${4:-3} threads=${RACE_THREADS:-2}
python=${PEERS:-$root/build/peers}/bin/python
[ -x "$python" ] || { echo "run tests/bench/peers.sh first" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" "$here/race_models.py" "$work"
for ((round = 0; round < rounds; round++)); do
    for precision in bf16 fp32; do
        DISTILL_LIBRARY=$library PYTHONPATH=$root/bindings/python "$python" "$here/race_ours.py" "$work" "$precision" "$batch" "$sequence" "$threads" >> "$work/times"
        "$python" "$here/race_torch.py" "$precision" "$batch" "$sequence" "$threads" >> "$work/times"
    done
done
"$python" "$here/race_table.py" "$work/times" "$((batch * sequence))"
