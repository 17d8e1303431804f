#!/usr/bin/env bash
# Distils a teacher into a smaller student and shows what that is worth. See --help.
set -euo pipefail
source "$(dirname "$0")/build.sh"

usage() {
    cat <<'END'
usage: examples/quickstart.sh [--teacher DIR --data FILE [--frontier]] [--steps N] [--seed N] [--no-install]

Installs what is missing (Debian, Ubuntu: apt-get, with sudo where not root), builds, and trains the same student twice
from the same weights on the same batches: distilled from the teacher, and on the text alone ("hard labels"). Then shows
both beside the teacher on text that none of them has seen, and what the student saves: size, memory, latency, speed, cost.
The tables are left as build/quickstart/result.json and compare.json, a page for a browser as build/quickstart/report.html,
which the last line names.

Without options: the small teacher in examples/quickstart/teacher and 0.6 MB of WordNet's glosses that it has never seen.
With a teacher and text of yours the student learns half from the teacher and half from the text (hard_label_weight 0.5), which is robust; the
last lines say which student to ship and why, and whether this teacher knows this text at all.

  --teacher DIR  a model of yours: a Hugging Face folder or a GGUF file (llama, mistral, qwen2, qwen3, gpt2)
  --data FILE    your text (documents may be separated by <|endoftext|>) or JSONL; its last tenth is held out
  --frontier     with your own files: hard_label_weight 0.1 and 0.9 and a second learning rate too, six runs more (their time is told)
  --steps N      optimiser steps of each run (300)
  --seed N       of the order of batches (1)
  --no-install   do not look for packages
END
}

teacher= data= steps=300 seed=1 install=yes frontier=no
while [ $# -gt 0 ]; do
    case $1 in
    --teacher | --data | --steps | --seed)
        [ $# -ge 2 ] || { echo "quickstart.sh: $1 needs a value (see --help)" >&2; exit 2; }
        declare "${1#--}=$2"
        shift 2
        ;;
    --no-install) install=no; shift ;;
    --frontier) frontier=yes; shift ;;
    --help | -h) usage; exit 0 ;;
    *) echo "quickstart.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
    esac
done
if { [ -n "$teacher" ] && [ -z "$data" ]; } || { [ -z "$teacher" ] && [ -n "$data" ]; }; then
    echo "quickstart.sh: --teacher and --data go together (see --help)" >&2
    exit 2
fi
if [ $frontier = yes ] && [ -z "$teacher" ]; then
    echo "quickstart.sh: --frontier goes with --teacher and --data (see --help)" >&2
    exit 2
fi
for path in "$teacher" "$data"; do
    [ -z "$path" ] || [ -e "$path" ] || { echo "quickstart.sh: $path does not exist" >&2; exit 1; }
done
[ -z "$teacher" ] || { teacher=$(realpath "$teacher"); data=$(realpath "$data"); }
[ $install = no ] || "$root/examples/quickstart/install.sh" ${teacher:+--no-text}

# ---- build ----

out=$root/build/quickstart
build_distill "$out"

# ---- the runs ----

run=(python3 "$root/examples/quickstart/compare.py" "$out" --distill "$distill" --set "train.steps=$steps" --set "train.seed=$seed")
if [ -n "$teacher" ]; then
    run+=(--recipe "$root/examples/quickstart/own.yaml" --own --teacher "$teacher" --set "teacher.path=$teacher" --set "data.train=$data")
    [ $frontier = no ] || run+=(--frontier)
else
    python3 "$root/examples/quickstart/wordnet.py" "$out/data"
    run+=(--recipe "$root/examples/quickstart/recipe.yaml" --teacher "$root/examples/quickstart/teacher"
        --set "data.train=$out/data/transfer.txt" --set "data.eval=$out/data/held_out.txt")
fi
exec "${run[@]}"
