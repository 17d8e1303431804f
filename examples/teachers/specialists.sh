#!/usr/bin/env bash
# Two specialists, one student. Trains a Portuguese and an English teacher of equal shape and budget, then students of both
# languages from one of them and from both, blended and routed, with three seeds; shows for each language perplexity and
# KL(specialist||student). Leaves build/teachers/specialists.json; goes on where it stopped. See prepare.sh for texts of yours.
set -euo pipefail
source "$(dirname "$0")/../build.sh"
answer_help "$root/examples/teachers/specialists.py" "$@"
source "$(dirname "$0")/prepare.sh"
exec python3 "$root/examples/teachers/specialists.py" "$out" --distill "$distill" "$@"
