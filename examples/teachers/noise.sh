#!/usr/bin/env bash
# A good teacher and a bad one (the same after 5 % of its training): what weights that are learned or chosen per token recover of
# what the good one alone gives, and what the plain mean recovers; three seeds. Leaves build/teachers/noise.json; goes on where it
# stopped. See prepare.sh for texts of yours.
set -euo pipefail
source "$(dirname "$0")/../build.sh"
answer_help "$root/examples/teachers/noise.py" "$@"
source "$(dirname "$0")/prepare.sh"
exec python3 "$root/examples/teachers/noise.py" "$out" --distill "$distill" "$@"
