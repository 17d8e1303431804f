#!/usr/bin/env bash
# The quickstart's comparison with three seeds, and hard labels given twice the steps (about the time of a distillation).
# Leaves build/quickstart/seeds.json. Usage: examples/quickstart/seeds.sh  (after examples/quickstart.sh; about 15 minutes on two cores)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/build/quickstart distill=$root/build/release/distill
[ -x "$distill" ] && [ -e "$out/data/transfer.txt" ] || { echo "run examples/quickstart.sh first" >&2; exit 1; }
run() { # name, settings
    local name=$1
    shift
    [ -e "$out/seeds/$name/result.json" ] || "$distill" run "$root/examples/quickstart/recipe.yaml" --set "data.train=$out/data/transfer.txt" \
        --set "data.eval=$out/data/held_out.txt" --set output.overwrite=true --set "output.path=$out/seeds/$name" "$@"
}
for seed in 1 2 3; do
    run "distilled-$seed" --set "train.seed=$seed"
    run "hard-$seed" --set "train.seed=$seed" --set loss.hard_label_weight=1 --set train.learning_rate=1e-3
    run "hard-twice-$seed" --set "train.seed=$seed" --set loss.hard_label_weight=1 --set train.learning_rate=1e-3 --set train.steps=600
done
python3 "$root/examples/quickstart/seeds.py" "$out/seeds" "$out/seeds.json"
