#!/usr/bin/env bash
# Is train.precision bf16 harmless? The quickstart's student with five seeds in each precision: means must differ by at most two standard deviations of
# the fp32 seeds. Usage: examples/quickstart/precision.sh  (after examples/quickstart.sh); SETTINGS="train.steps=60" makes it shorter
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/build/quickstart distill=${DISTILL:-$root/build/release/distill}
[ -x "$distill" ] && [ -e "$out/data/transfer.txt" ] || { echo "run examples/quickstart.sh first" >&2; exit 1; }
more=()
for setting in ${SETTINGS:-}; do more+=(--set "$setting"); done
for seed in 1 2 3 4 5; do
    for precision in fp32 bf16; do
        name=$precision-$seed
        [ -e "$out/precision/$name/result.json" ] || "$distill" run "$root/examples/quickstart/recipe.yaml" --set "data.train=$out/data/transfer.txt" \
            --set "data.eval=$out/data/held_out.txt" --set output.overwrite=true --set "output.path=$out/precision/$name" --set "train.seed=$seed" \
            --set "train.precision=$precision" "${more[@]}"
    done
done
python3 "$root/examples/quickstart/precision.py" "$out/precision"
