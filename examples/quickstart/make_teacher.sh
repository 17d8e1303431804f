#!/usr/bin/env bash
# Makes examples/quickstart/teacher: a byte-level BPE of 2,048 tokens (trained with the package `tokenizers` in a virtual
# environment) and a Llama of 3.6 million parameters, trained with this library on 8.1 MB of WordNet's glosses: 3,000 steps
# of 8 x 128 tokens, about a quarter of an hour on two cores. Goes on where it stopped if it was interrupted.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/build/teacher distill=$root/build/release/distill target=$root/examples/quickstart/teacher
"$root/examples/quickstart/install.sh"
[ -x "$distill" ] || { cmake -S "$root" -B "$root/build/release" && cmake --build "$root/build/release" -j "$(nproc)"; }
python3 "$root/examples/quickstart/wordnet.py" "$out/data"
if [ ! -e "$out/model/tokenizer.json" ]; then
    [ -x "$out/venv/bin/pip" ] || python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install -q tokenizers
    "$out/venv/bin/python" "$root/examples/quickstart/train_tokenizer.py" "$out/data/teacher.txt" "$out/model"
fi
cp "$root/examples/quickstart/teacher_config.json" "$out/model/config.json"
resume=()
[ ! -d "$out/run/checkpoints" ] || resume=(--resume)
"$distill" run "$root/examples/quickstart/teacher.yaml" --set "student.config=$out/model/config.json" \
    --set "data.train=$out/data/teacher.txt" --set "data.eval=$out/data/held_out.txt" --set "output.path=$out/run" "${resume[@]}"
mkdir -p "$target"
for file in config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json; do cp "$out/run/$file" "$target/"; done
echo "the teacher is in $target"
