#!/usr/bin/env bash
# Builds the fuzz targets with libFuzzer and runs each for some seconds. See --help.
set -uo pipefail
cd "$(dirname "$0")/../.."

usage() {
    cat <<'END'
usage: tests/fuzz/run.sh SECONDS [TARGET...]

Builds every fuzz target with clang, libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer (library objects are instrumented, too) in
build/fuzz, and runs each one for SECONDS, as many at a time as there are cores. TARGET: json, gguf, ... (default: all). New inputs are
kept in build/fuzz/corpus/TARGET, on top of tests/fuzz/corpora/TARGET. An input that crashes, hangs or takes too much memory is kept in
build/fuzz/found and named; then the exit code is 1. Where libFuzzer is missing it is installed (Debian, Ubuntu: apt-get, with sudo
where not root).
END
}
case ${1:-} in
--help | -h) usage; exit 0 ;;
'' | *[!0-9]*) usage >&2; exit 2 ;;
esac
seconds=$1
shift
build=build/fuzz jobs=$(nproc 2> /dev/null || echo 2)

# ---- clang and its libFuzzer ----
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
install() { as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" > /dev/null 2>&1; }
has_fuzzer() {
    mkdir -p "$build"
    echo '#include <stdint.h>
#include <stddef.h>
int LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) { return (int)(n && !d); }' > "$build/probe.c"
    clang -fsanitize=fuzzer,address,undefined "$build/probe.c" -o "$build/probe" > "$build/probe.log" 2>&1
}
if ! command -v clang > /dev/null; then
    as_root apt-get update -q > /dev/null && install clang
fi
if ! has_fuzzer; then
    major=$(clang -dumpversion | cut -d. -f1)
    echo "installing: libclang-rt-$major-dev"
    as_root apt-get update -q > /dev/null
    install "libclang-rt-$major-dev" || install "libclang-common-$major-dev"
    has_fuzzer || { cat "$build/probe.log"; echo "run.sh: clang $major has no libFuzzer and none could be installed" >&2; exit 1; }
fi

# ---- build ----
echo "== build"
if ! cmake -S . -B "$build" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DDISTILL_FUZZ=ON -DDISTILL_TESTS=OFF \
    -DDISTILL_PROGRAM=OFF -DDISTILL_SHARED=OFF -DDISTILL_STATIC=OFF -DDISTILL_SANITIZE=address,undefined > "$build/build.log" 2>&1 ||
    ! cmake --build "$build" --parallel "$jobs" >> "$build/build.log" 2>&1; then
    grep -nE -A3 'error|Error' "$build/build.log" | head -40
    echo "run.sh: the build failed, see $build/build.log" >&2
    exit 1
fi
declare -A program
for path in "$build"/tests/fuzz_*; do
    [ -x "$path" ] && [ -f "$path" ] || continue
    name=${path##*/fuzz_}
    program[${name#*_}]=$path
done
[ ${#program[@]} -gt 0 ] || { echo "run.sh: nothing was built, see $build/build.log" >&2; exit 1; }
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(printf '%s\n' "${!program[@]}" | sort)
for target in "${targets[@]}"; do
    [ -n "${program[$target]:-}" ] && continue
    echo "run.sh: no fuzz target $target; there are: $(printf '%s\n' "${!program[@]}" | sort | tr '\n' ' ')" >&2
    exit 2
done

# ---- run ----
mkdir -p "$build/found"
rm -f "$build"/found/*.log
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
fuzz() { # target: one line when it is done; its log stays in found/ where something was found
    local target=$1 log="$build/$1.log" corpus="$build/corpus/$1" runs coverage found
    mkdir -p "$corpus"
    "${program[$target]}" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/found/$target-" "$corpus" "tests/fuzz/corpora/$target" > "$log" 2>&1
    local code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
    if [ $code = 0 ]; then
        printf '%-12s %10s runs  %-10s nothing found\n' "$target" "${runs:-0}" "$coverage"
        return
    fi
    cp "$log" "$build/found/$target.log"
    found=$(sed -n 's/.*Test unit written to //p' "$log" | head -1)
    printf '%-12s %10s runs  %-10s FOUND: %s (log: %s)\n' "$target" "${runs:-0}" "$coverage" "${found:-no input was kept}" "$build/found/$target.log"
    grep -m1 -E 'SUMMARY:|runtime error:|ERROR: ' "$log"
}
echo "== ${#targets[@]} targets, $seconds s each, $jobs at a time"
for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    fuzz "$target" &
done
wait
total=0
for target in "${targets[@]}"; do
    total=$((total + $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log" | grep . || echo 0)))
done
found=$(find "$build/found" -name '*.log' | wc -l)
echo "${#targets[@]} targets, $total runs, $found found something"
[ "$found" = 0 ]
