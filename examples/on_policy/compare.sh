#!/usr/bin/env bash
# Does it help that the student writes what it learns from? The quickstart's student on hard labels, on the teacher's distribution over the data
# (forward_kl, reverse_kl, jsd, skew_reverse_kl) and over its own text (on-policy jsd and reverse_kl), five seeds each, at equal steps and at equal
# FLOP: KL, agreement and perplexity on held-out text, ROUGE-L to the teacher's greedy text, what the teacher thinks of the student's samples, and
# exposure bias. Leaves build/on-policy/on_policy.json; goes on where it stopped.
# Usage: examples/on_policy/compare.sh [--steps N] [--seeds N] [--quick]  (some 25 minutes on two cores at 150 steps)
set -euo pipefail
source "$(dirname "$0")/../build.sh"
answer_help "" "$@"
out=$root/build/on-policy
"$root/examples/quickstart/install.sh"
build_distill "$out"
export DISTILL_LIBRARY=${DISTILL_LIBRARY:-$(dirname "$distill")/libdistill.so.1}
export PYTHONPATH=$root/examples:$root/examples/quickstart:$root/bindings/python
python3 "$root/examples/quickstart/wordnet.py" "$out/data"
exec python3 "$root/examples/on_policy/compare.py" "$out" --distill "$distill" "$@"
