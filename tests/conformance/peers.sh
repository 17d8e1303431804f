#!/usr/bin/env bash
# Runs the conformance suite on the losses of released packages and writes docs/conformance-peers.md. See --help.
set -euo pipefail
case ${1:-} in
-h | --help)
    cat <<'END'
usage: tests/conformance/peers.sh [--check]

Makes a virtual environment in build/peers-venv with trl, liger-kernel, transformers and torch (about 1 GB, from PyPI; PEERS_PYTHON=PROGRAM takes one that
has them), and runs the suite on what tests/conformance/peer_losses.py names. The table goes to docs/conformance-peers.md; with --check nothing is
written, and the exit status is 1 where the page is another. DISTILL_LIBRARY=FILE is the library; without it build/release/libdistill.so.1.
END
    exit 0
    ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PEERS_PYTHON:-$root/build/peers-venv/bin/python}
[ -x "$python" ] || {
    python3 -m venv "$root/build/peers-venv"
    "$python" -m pip install --quiet --disable-pip-version-check trl liger-kernel torch
}
export DISTILL_LIBRARY=${DISTILL_LIBRARY:-$root/build/release/libdistill.so.1} PYTHONPATH=$root/bindings/python:$here PYTHONDONTWRITEBYTECODE=1 TRL_EXPERIMENTAL_SILENCE=1
exec "$python" "$here/peers.py" "$@"
