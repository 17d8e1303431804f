#!/usr/bin/env bash
# Does it help that the teacher makes data? The quickstart's student on half of its text, on that and what the teacher makes of it (continuations
# of its lines), on that after curation, and on all of the text: five seeds each, at equal steps; held-out KL, agreement and perplexity.
# Leaves build/augmentation/augmentation.json; goes on where it stopped.
# Usage: examples/augmentation/compare.sh [--steps N] [--seeds N] [--quick]  (some 15 minutes on two cores)
set -euo pipefail
source "$(dirname "$0")/../build.sh"
answer_help "$root/examples/augmentation/compare.py" "$@"
out=$root/build/augmentation
"$root/examples/quickstart/install.sh"
build_distill "$out"
export PYTHONPATH=$root/examples:$root/examples/quickstart
python3 "$root/examples/quickstart/wordnet.py" "$out/data"
exec python3 "$root/examples/augmentation/compare.py" "$out" --distill "$distill" "$@"
