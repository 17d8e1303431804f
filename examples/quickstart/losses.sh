#!/usr/bin/env bash
# Every built-in loss on the quickstart's student: five seeds each at equal steps; held-out KL, perplexity, agreement and expected
# acceptance of a draft, with standard deviations, and which differences are more than chance. Leaves build/losses/losses.json; goes on
# where it stopped. Usage: examples/quickstart/losses.sh [--steps N] [--losses jsd,tvd] [--quick]  (about 15 s a run on two cores, and of 300 steps 25; of --quick one)
set -euo pipefail
source "$(dirname "$0")/../build.sh"
answer_help "$root/examples/quickstart/losses.py" "$@"
out=$root/build/losses
if command -v python3 > /dev/null; then # before anything is installed or built
    python3 "$root/examples/quickstart/losses.py" "$out" --distill "$distill" "$@" --check
fi
"$root/examples/quickstart/install.sh"
build_distill "$out"
python3 "$root/examples/quickstart/wordnet.py" "$out/data"
exec python3 "$root/examples/quickstart/losses.py" "$out" --distill "$distill" "$@"
