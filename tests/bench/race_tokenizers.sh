#!/usr/bin/env bash
# Tokenizing and opening, ours and the Rust package tokenizers in turns, as a table of ratios. Nothing else should run meanwhile.
# Usage: tests/bench/race_tokenizers.sh LIBRARY --text FILE [--text FILE]... [--rounds 3] [--threads 1,2] FOLDER...   (of tokenizer.json files)
# PEERS names a virtual environment with the package tokenizers; tests/lib/text/fetch_tokenizers.sh fetches real ones.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/usage.sh"
library=$(library_of "$@")
python=${PEERS:-$root/build/peers}/bin/python
"$python" -c 'import tokenizers' || { echo "run tests/bench/peers.sh first, or name a PEERS with the package tokenizers" >&2; exit 1; }
DISTILL_LIBRARY=$library PYTHONPATH=$root/bindings/python exec "$python" "$here/race_tokenizers.py" "${@:2}"
