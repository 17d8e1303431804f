#!/usr/bin/env bash
# The table of ranks: seconds of a training step by one rank of several threads and by several ranks. See --help.
set -euo pipefail
here=$(realpath "$(dirname "$0")/../..")
usage() {
    cat <<'END'
usage: tests/bench/ranks.sh [--rows "ROW..."] [--precision fp32|bf16] [--wire fp32|bf16] [--shares] [--steps N] [--rounds N] [BUILD]

Seconds of a step of 4 x 256 tokens (teacher and student of 100 and 22 million parameters), what a rank sends in a step, of the gradients'
bytes, and the loss. Rows take turns, ROUNDS times; medians. BUILD (build/tests-gcc) has libdistill.so and libdistill_mpi.so.

  --rows "1x2 1 2 3 4"  RANKSxTHREADS, or RANKS of a thread each; the first one is 100 %. A row takes as long as its steps and about
                        10 seconds: 30 to 60 with 8 steps on two cores
  --precision P         train.precision: of products; fp32
  --wire P              train.gradient_wire: of what ranks send; fp32
  --shares              train.shard_optimizer: each rank has a part of the optimiser's state
  --steps N             that are timed, after one that is not; 8
  --rounds N            3
Without --rows, --wire and --shares two more rows have these, by two ranks. FOLDER=... in the environment keeps the models.
END
}
wrong() { echo "ranks.sh: $* (see --help)" >&2; exit 2; }
value() { [ $# -ge 2 ] || wrong "$1 needs a value"; }
rows="1x2 1 2 3 4" precision=fp32 wire=fp32 shares=false steps=8 rounds=3 build=build/tests-gcc more=1
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage; exit 0 ;;
    --rows) value "$@"; rows=$2 more=; shift ;;
    --precision) value "$@"; precision=$2; shift ;;
    --wire) value "$@"; wire=$2 more=; shift ;;
    --shares) shares=true more= ;;
    --steps) value "$@"; steps=$2; shift ;;
    --rounds) value "$@"; rounds=$2; shift ;;
    -*) wrong "$1 is not known" ;;
    *) build=$1 ;;
    esac
    shift
done
for number in "$steps" "$rounds"; do [[ $number =~ ^[1-9][0-9]*$ ]] || wrong "--steps and --rounds are numbers from 1 on, not $number"; done
for row in $rows; do [[ $row =~ ^[1-9][0-9]*(x[1-9][0-9]*)?$ ]] || wrong "a row is RANKS or RANKSxTHREADS, not $row"; done
for name in "$precision" "$wire"; do [[ $name =~ ^(fp32|bf16)$ ]] || wrong "--precision and --wire are fp32 or bf16, not $name"; done
build=$(realpath "$build")
command -v mpirun > /dev/null || { echo "ranks.sh: mpirun is not installed (openmpi-bin)" >&2; exit 77; }
[ -e "$build/libdistill_mpi.so" ] || { echo "ranks.sh: no libdistill_mpi.so in $build" >&2; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=${FOLDER:-$work/models}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OPENBLAS_NUM_THREADS=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
export DISTILL_LIBRARY="$build/libdistill.so" PYTHONPATH="$here/bindings/python"
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

run() { # row, wire, shares
    local ranks=${1%x*} threads=1 name begun=$SECONDS
    [ "$ranks" = "$1" ] || threads=${1#*x}
    name="$ranks x $threads$([ "$2" = fp32 ] || echo ", $2 wire")$([ "$3" = false ] || echo ", shares")"
    mpirun -n "$ranks" --bind-to none "$work/pin" "$threads" python3 "$here/tests/bench/ranks_step.py" "$folder" "$threads" "$steps" \
        "train.precision=$precision" "train.gradient_wire=$2" "train.shard_optimizer=$3" > "$work/out" 2> "$work/log" ||
        { cat "$work/log" >&2; exit 1; }
    printf '%s\t%s\n' "$name" "$(tail -1 "$work/out")" >> "$work/rows"
    echo "round $round of $rounds: $name, $((SECONDS - begun)) s" >&2
}
for round in $(seq "$rounds"); do
    for row in $rows; do run "$row" "$wire" "$shares"; done
    [ -z "$more" ] || run 2 bf16 false
    [ -z "$more" ] || run 2 fp32 true
done
python3 - "$work/rows" "$precision" <<'PYTHON'
import json, statistics, sys
rows = {}
for line in open(sys.argv[1]):
    name, text = line.rstrip("\n").split("\t")
    rows.setdefault(name, []).append(json.loads(text))
medians = {name: statistics.median(row["seconds"] for row in found) for name, found in rows.items()}
first = next(iter(medians))
print("%-20s %12s %14s %16s %12s" % ("ranks x threads, %s" % sys.argv[2], "s a step", "of %s" % first, "sent/gradients", "loss"))
for name, found in rows.items():
    print("%-20s %12.3f %13.0f%% %16.3f %12.6f" % (name, medians[name], 100 * medians[first] / medians[name], found[0]["sent"] / found[0]["gradients"],
                                                  found[0]["loss"]))
PYTHON
