#!/usr/bin/env bash
# The table of ranks: seconds of a step by 1 rank x 2 threads, and by 1, 2, 3 and 4 ranks x 1 thread, at 4 x 256 tokens; and what
# a step sends. usage: tests/bench/ranks.sh [PROGRAM] [MODEL] [STEPS]; PROGRAM is distill, with libdistill_mpi.so beside it, MODEL
# a folder with config.json and a tokenizer, of which a student with fresh weights is trained on labels.
set -euo pipefail
program=${1:-build/tests-gcc/distill}
model=${2:-examples/quickstart/teacher}
steps=${3:-12}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OPENBLAS_NUM_THREADS=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
command -v mpirun > /dev/null || { echo "ranks.sh: mpirun is not installed (openmpi-bin)" >&2; exit 77; }
[ -e "$(dirname "$program")/libdistill_mpi.so" ] || { echo "ranks.sh: no libdistill_mpi.so beside $program" >&2; exit 77; }

for i in $(seq 1 4000); do echo "the thing $i is in the inn and then the man went to number $((i * 7919 % 4001))"; done > "$work/text.txt"
cat > "$work/recipe.yaml" <<RECIPE
student: {config: $(realpath "$model")/config.json}
data: {train: text.txt, sequence_length: 256, pack: true}
loss: cross_entropy
train: {steps: $steps, batch_size: 4, learning_rate: 1.0e-4, log_every: 1}
RECIPE

# one thread each: on a core of its own while there are some
cat > "$work/pin" <<'PIN'
#!/bin/sh
threads=$1
shift
[ "$threads" = 1 ] || exec "$@"
exec taskset -c $((OMPI_COMM_WORLD_RANK % $(nproc))) "$@"
PIN
chmod +x "$work/pin"

report() { # name, folder: medians of the steps after the first
    python3 - "$1" "$2" <<'PYTHON'
import json, statistics, sys
lines = [json.loads(line) for line in open(sys.argv[2] + "/metrics.jsonl")]
seconds = [b["seconds"] - a["seconds"] for a, b in zip(lines, lines[1:])]
training = json.load(open(sys.argv[2] + "/result.json"))["training"]
sent = training.get("sent_bytes", 0) / training["steps"] / 2**20
print("%-22s %8.3f s a step  %8.1f MiB sent  loss %.6f" % (sys.argv[1], statistics.median(seconds), sent, lines[-1]["loss"]))
PYTHON
}

run() { # name, threads, ranks, more
    local name=$1 threads=$2 ranks=$3
    shift 3
    mpirun -n "$ranks" --bind-to none "$work/pin" "$threads" "$program" run "$work/recipe.yaml" --communicator mpi --quiet \
        --set "output.path=$work/out" --set output.overwrite=true "$@" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    report "$name" "$work/out"
}
run "1 rank x 2 threads" 2 1
for ranks in 1 2 3 4; do run "$ranks x 1 thread" 1 $ranks; done
run "2 x 1, bf16 wire" 1 2 --set train.gradient_wire=bf16
run "2 x 1, shares" 1 2 --set train.shard_optimizer=true
