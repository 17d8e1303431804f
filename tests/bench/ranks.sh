#!/usr/bin/env bash
# The table of ranks: seconds of a step of 4 x 256 tokens (teacher and student of shared/bench's shapes) by 1 rank x 2 threads, and
# by 1, 2, 3 and 4 ranks x 1 thread, and what a rank sends in a step, of the gradients' bytes. Rows take turns, ROUNDS times; medians.
# usage: tests/bench/ranks.sh [BUILD] [STEPS] [ROUNDS]; BUILD has libdistill.so and libdistill_mpi.so. FOLDER=... keeps the models.
set -euo pipefail
here=$(realpath "$(dirname "$0")/../..")
build=$(realpath "${1:-build/tests-gcc}")
steps=${2:-8}
rounds=${3:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=${FOLDER:-$work/models}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OPENBLAS_NUM_THREADS=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
export DISTILL_LIBRARY="$build/libdistill.so" PYTHONPATH="$here/bindings/python"
command -v mpirun > /dev/null || { echo "ranks.sh: mpirun is not installed (openmpi-bin)" >&2; exit 77; }
[ -e "$build/libdistill_mpi.so" ] || { echo "ranks.sh: no libdistill_mpi.so in $build" >&2; exit 77; }
[ -d "$folder/student" ] || { mkdir -p "$folder" && python3 "$here/tests/bench/ranks_step.py" "$folder" 0 0; }

# one thread each: on a core of its own while there are some
cat > "$work/pin" <<'PIN'
#!/bin/sh
threads=$1
shift
[ "$threads" = 1 ] || exec "$@"
exec taskset -c $((OMPI_COMM_WORLD_RANK % $(nproc))) "$@"
PIN
chmod +x "$work/pin"

run() { # name, threads, ranks, more
    local name=$1 threads=$2 ranks=$3
    shift 3
    mpirun -n "$ranks" --bind-to none "$work/pin" "$threads" python3 "$here/tests/bench/ranks_step.py" "$folder" "$threads" "$steps" "$@" \
        > "$work/out" 2> "$work/log" || { cat "$work/log" >&2; exit 1; }
    printf '%s\t%s\n' "$name" "$(tail -1 "$work/out")" >> "$work/rows"
}
for _ in $(seq "$rounds"); do
    run "1 rank x 2 threads" 2 1
    for ranks in ${RANKS:-1 2 3 4}; do run "$ranks x 1 thread" 1 "$ranks"; done
    [ -n "${RANKS:-}" ] || run "2 x 1, bf16 wire" 1 2 train.gradient_wire=bf16
    [ -n "${RANKS:-}" ] || run "2 x 1, shares" 1 2 train.shard_optimizer=true
done
python3 - "$work/rows" <<'PYTHON'
import json, statistics, sys
rows = {}
for line in open(sys.argv[1]):
    name, text = line.rstrip("\n").split("\t")
    rows.setdefault(name, []).append(json.loads(text))
first = statistics.median(row["seconds"] for row in rows["1 rank x 2 threads"])
print("%-20s %12s %14s %16s %12s" % ("", "s a step", "of 1 x 2", "sent/gradients", "loss"))
for name, found in rows.items():
    seconds = statistics.median(row["seconds"] for row in found)
    print("%-20s %12.3f %13.0f%% %16.3f %12.6f" % (name, seconds, 100 * first / seconds, found[0]["sent"] / found[0]["gradients"], found[0]["loss"]))
PYTHON
