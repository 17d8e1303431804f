#!/usr/bin/env bash
# What the examples with several teachers start from, under build/teachers: packages, the program, the texts, one tokenizer over
# both languages. Texts: PORTUGUESE and ENGLISH (files, separated by colons), by default those of the folder that
# DISTILL_TEST_ASSETS names, or ../shared. What is there already is kept. Sourced by specialists.sh, noise.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../build.sh"
out=$root/build/teachers
assets=${DISTILL_TEST_ASSETS:-$root/../shared}
portuguese=${PORTUGUESE:-$assets/text/machado_pt/train.txt}
english=${ENGLISH:-$assets/text/wikitext2/test.txt:$assets/text/wikitext2/valid.txt:$assets/text/wizard_of_oz/wizard_of_oz.txt}
IFS=: read -ra portuguese <<< "$portuguese"
IFS=: read -ra english <<< "$english"
for file in "${portuguese[@]}" "${english[@]}"; do
    [ -e "$file" ] || { echo "$file does not exist: name texts of yours (2.5 MB or more of each) in PORTUGUESE and ENGLISH" >&2; exit 1; }
done
"$root/examples/quickstart/install.sh" --no-text
build_distill "$out"
[ -e "$out/data/both.txt" ] || python3 "$root/examples/teachers/texts.py" "$out/data" --portuguese "${portuguese[@]}" --english "${english[@]}"
if [ ! -e "$out/model/tokenizer_config.json" ]; then
    [ -x "$out/venv/bin/pip" ] || python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install -q tokenizers
    "$out/venv/bin/python" "$root/examples/quickstart/train_tokenizer.py" "$out/data/both.txt" "$out/model"
fi
cp "$root/examples/teachers/teacher_config.json" "$out/model/config.json"
sed 's/"num_hidden_layers": 4/"num_hidden_layers": 2/' "$root/examples/teachers/teacher_config.json" > "$out/model/student.json"
