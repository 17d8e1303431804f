#!/usr/bin/env bash
# What a cache of targets is worth: the quickstart's student on hard labels, from the live teacher and from each tier of a cache;
# speed, size of the file, and what the student learns, three seeds in turn. Then what each tier keeps (distill cache measure), and
# sizes and decoding at a vocabulary of 151,936 (made-up ids). Leaves build/cache/cache.json; goes on where it stopped.
set -euo pipefail
source "$(dirname "$0")/../build.sh"
answer_help "$root/examples/teachers/cache.py" "$@"
out=$root/build/cache
"$root/examples/quickstart/install.sh"
build_distill "$out"
bench() {
    cmake -S "$root" -B "$root/build/bench" -DCMAKE_BUILD_TYPE=Release -DDISTILL_TESTS=ON -DDISTILL_BENCH=ON &&
        cmake --build "$root/build/bench" -j "$(nproc)" --target bench_cache
}
build_with "$out" bench
python3 "$root/examples/quickstart/wordnet.py" "$out/data"
python3 "$root/examples/teachers/cache.py" "$out" --distill "$distill" --teacher "$root/examples/quickstart/teacher" "$@"
echo
"$distill" cache measure --teacher "$root/examples/quickstart/teacher" --student "$out/live-1" --data "$out/data/held_out.txt" \
    --set data.separator= --set data.sequence_length=128
echo
"$root/build/bench/tests/bench_cache"
