#!/usr/bin/env bash
# The openai packages of Python and npm against `distill serve`. usage: tests/serve/clients.sh [BUILD], by default
# build/tests-gcc. They are installed below build/clients.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/tests-gcc} folder=$PWD/build/clients
[ -x "$build/distill" ] || { echo "clients.sh: $build/distill is not there; tests/run.sh builds it" >&2; exit 1; }
DISTILL_PROGRAM=$(realpath "$build/distill")
export DISTILL_PROGRAM
mkdir -p "$folder"
[ -x "$folder/venv/bin/pytest" ] || { python3 -m venv "$folder/venv" && "$folder/venv/bin/pip" install -q openai pytest; }
"$folder/venv/bin/python" -B -m pytest -q -p no:cacheprovider tests/serve/test_openai.py
if ! command -v npm > /dev/null; then
    echo "skipped: npm is not installed"
    exit 0
fi
[ -d "$folder/node_modules/openai" ] || npm install --silent --no-audit --no-fund --prefix "$folder" openai
cp tests/serve/openai_client.mjs "$folder/"
exec 3< <(exec "$DISTILL_PROGRAM" serve examples/quickstart/teacher --name small --port 0 --chat-template chatml --context 256)
server=$!
trap 'kill $server' EXIT
read -r line <&3
url=${line#* at } url=${url%% *}
node "$folder/openai_client.mjs" "$url"
