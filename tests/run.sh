#!/usr/bin/env bash
# Builds everything and runs every test. See --help.
set -uo pipefail
cd "$(dirname "$0")/.."

jobs=(gcc clang sanitize threads bare cblas)
usage() {
    cat <<'END'
usage: tests/run.sh [--quick] [--job JOB]... [--help] [NAME...]

Installs what is missing (Debian, Ubuntu: apt-get, with sudo where not root), then does these jobs, each a build with its tests:
  gcc        builds the release with warnings as errors and runs all tests: C, C++, Python, program, examples, layers, ABI
  clang      compiles everything with warnings as errors and replays the fuzz corpora
  sanitize   builds with AddressSanitizer and UndefinedBehaviorSanitizer and runs the tests again
  threads    builds what runs on several threads with ThreadSanitizer and runs it
  bare       builds without zlib, zstd, libmicrohttpd, libedit and MPI, reads files of data and talks in a terminal
  cblas      builds with products by CBLAS alone, and runs what computes: ops, models, losses, trainers
The last line is "N passed, N failed, N skipped"; the exit code is 1 if anything failed, 130 after Ctrl-C.

  --quick    gcc only
  --job JOB  this job only, or these; cblas builds everything then, and runs all tests
  NAME       of the tests only this one (lib/base/parallel, python) or this folder of them (lib/base, fuzz); gcc only,
             or the jobs that --job names

A job builds in build/tests-JOB, and goes on there where it was stopped. Tests that need the shared test assets look for them in
DISTILL_TEST_ASSETS, by default ../shared where that exists, and are skipped without.
END
}

names=() chosen=()
refuse() {
    echo "run.sh: $1 (see --help)" >&2
    exit 2
}
choose() { # a job by name
    [[ " ${jobs[*]} " = *" $1 "* ]] || refuse "there is no job '$1'; there are ${jobs[*]}"
    chosen+=("$1")
}
while [ $# -gt 0 ]; do
    case $1 in
    --quick) chosen+=(gcc) ;;
    --job)
        [ $# -gt 1 ] || refuse "--job without a name; there are ${jobs[*]}"
        shift
        choose "$1"
        ;;
    --job=*) choose "${1#--job=}" ;;
    --help | -h)
        usage
        exit 0
        ;;
    -*) refuse "unknown option $1" ;;
    *) names+=("${1%/}") ;;
    esac
    shift
done
alone=no
[ ${#chosen[@]} = 0 ] || alone=yes
[ ${#names[@]} = 0 ] || [ $alone = yes ] || chosen=(gcc)
[ ${#chosen[@]} -gt 0 ] || chosen=("${jobs[@]}")
is_chosen() { [[ " ${chosen[*]} " = *" $1 "* ]]; }

# ---- packages ----

missing=() optional=()
want_command() { command -v "$1" > /dev/null || missing+=("$2"); }
want_module() { pkg-config --exists "$1" 2> /dev/null || missing+=("$2"); }
want_python() { python3 -c "import $1" 2> /dev/null || /usr/bin/python3 -c "import $1" 2> /dev/null || optional+=("$2"); }

find_missing() {
    want_command gcc gcc
    want_command g++ g++
    want_command cmake cmake
    want_command make make
    want_command pkg-config pkg-config
    want_command readelf binutils
    want_command python3 python3
    ! is_chosen clang || want_command clang clang
    echo '#include <stdlib.h>' | cc -E - > /dev/null 2>&1 || missing+=(libc6-dev)
    pkg-config --exists openblas 2> /dev/null || want_module cblas libopenblas-dev
    want_module yaml-0.1 libyaml-dev
    want_module jansson libjansson-dev
    want_module libpcre2-8 libpcre2-dev
    want_module libutf8proc libutf8proc-dev
    pkg-config --exists zlib 2> /dev/null || optional+=(zlib1g-dev)
    pkg-config --exists libzstd 2> /dev/null || optional+=(libzstd-dev)
    pkg-config --exists libmicrohttpd 2> /dev/null || optional+=(libmicrohttpd-dev)
    pkg-config --exists libedit 2> /dev/null || optional+=(libedit-dev)
    command -v tmux > /dev/null || optional+=(tmux)
    command -v abidiff > /dev/null || optional+=(abigail-tools)
    [ "$(uname -m)" != x86_64 ] || command -v qemu-x86_64 > /dev/null || optional+=(qemu-user)
    command -v mpirun > /dev/null || optional+=(openmpi-bin)
    [ -n "${CMAKE_C_COMPILER_LAUNCHER:-}" ] || command -v ccache > /dev/null || optional+=(ccache)
    command -v mpicc > /dev/null || optional+=(libopenmpi-dev)
    want_python pytest python3-pytest
    want_python numpy python3-numpy
}
install() { # packages; root or sudo
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "installing: $*"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" > /dev/null
}

find_missing
if [ ${#missing[@]} -gt 0 ] || [ ${#optional[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ]; then apt-get update -q > /dev/null; else sudo apt-get update -q > /dev/null; fi
fi
if [ ${#missing[@]} -gt 0 ] && ! install "${missing[@]}"; then
    echo "run.sh: could not install: ${missing[*]}" >&2
    exit 1
fi
for package in "${optional[@]}"; do
    install "$package" || echo "run.sh: without $package the tests that need it are skipped"
done

# What is compiled again with the same flags (cblas, bare, the wheel) is taken from the first build. Paths stay absolute: made
# relative (CCACHE_BASEDIR) they would differ in every folder that the library is built in.
if [ -z "${CMAKE_C_COMPILER_LAUNCHER:-}" ] && command -v ccache > /dev/null; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
    export CCACHE_DIR=${CCACHE_DIR:-$PWD/build/ccache} CCACHE_NOHASHDIR=1
fi

# clang-format 14: what is there, the package where there is one (Debian 12, Ubuntu 22.04 and 24.04), else from PyPI
has_format() { "$1" --version 2> /dev/null | grep -q 'version 14\.'; }
install_format() {
    local venv=build/format-venv
    for tool in clang-format-14 clang-format $venv/bin/clang-format; do has_format $tool && return; done
    if [ -n "$(apt-cache search --names-only '^clang-format-14$' 2> /dev/null)" ] && install clang-format-14; then return; fi
    python3 -m venv $venv > /dev/null 2>&1 && $venv/bin/pip install -q clang-format==14.0.6 > /dev/null 2>&1 && has_format $venv/bin/clang-format ||
        echo "run.sh: without clang-format 14 the format test is skipped"
}
[ ${#names[@]} -gt 0 ] || install_format
python=$(command -v python3)
"$python" -c 'import pytest, numpy' 2> /dev/null || python=/usr/bin/python3

if [ -z "${DISTILL_TEST_ASSETS:-}" ] && [ -d ../shared ]; then
    DISTILL_TEST_ASSETS=$(cd ../shared && pwd)
    export DISTILL_TEST_ASSETS
fi
parallel=$(nproc 2> /dev/null || echo 2)
passed=0 failed=0 skipped=0

# ---- one build and its tests ----

targets=() # to build; none = all
build() { # name, cmake arguments: configure and build, output only where it fails
    local name=$1 folder=build/tests-$1 started=$SECONDS
    shift
    echo "== $name: build"
    mkdir -p "$folder"
    if cmake -S . -B "$folder" -DDISTILL_TESTS=ON -DDISTILL_WERROR=ON -DPython3_EXECUTABLE="$python" "$@" > "$folder/build.log" 2>&1 &&
        cmake --build "$folder" --parallel "$parallel" ${targets[@]+--target "${targets[@]}"} >> "$folder/build.log" 2>&1; then
        echo "   $((SECONDS - started)) s"
        return 0
    fi
    grep -nE -A3 'error|Error' "$folder/build.log" | head -60
    echo "== $name: the build failed, see $folder/build.log"
    failed=$((failed + 1))
    return 1
}
run_tests() { # name, ctest arguments that select
    local name=$1 folder=build/tests-$1 log pattern
    log=$folder/tests.log
    shift
    if [ ${#names[@]} -gt 0 ]; then
        pattern=$(pattern_of "$folder" "$@") || exit 2
        set -- -R "$pattern"
    fi
    echo "== $name: tests"
    running=$log
    (cd "$folder" && ctest --parallel "$parallel" --output-on-failure "$@") > "$log" 2>&1
    running=
    count "$log"
    if grep -qE '^ *[0-9]+/[0-9]+ Test +#.*\*\*\*(Failed|Timeout|Exception|Not Run)' "$log"; then
        cat "$log"
    fi
    sed -n '/tests passed/,$p' "$log"
}
count() {
    local lines ran bad left
    lines=$(grep -E '^ *[0-9]+/[0-9]+ Test +#' "$1")
    ran=$(grep -cE ' Passed +[0-9.]+ sec' <<< "$lines")
    left=$(grep -cE '\*\*\*Skipped' <<< "$lines")
    bad=$(($(grep -c . <<< "$lines") - ran - left))
    if [ $((ran + left + bad)) = 0 ] && [ -z "$running" ]; then
        cat "$1"
        bad=1
    fi
    passed=$((passed + ran)) failed=$((failed + bad)) skipped=$((skipped + left))
}

# A pattern for the tests of $names among those that a job selects; exit code 2 where a name is none of them.
pattern_of() { # build folder, ctest arguments that select
    local list name near pattern=
    list=$(cd "$1" && ctest -N "${@:2}" | sed -n 's/^ *Test *#[0-9]*: //p')
    for name in "${names[@]}"; do
        if ! grep -qE "^${name//./\\.}(/|$)" <<< "$list"; then
            near=$(grep -iF -- "${name##*/}" <<< "$list")
            [ -n "$near" ] && echo "run.sh: $job has no test $name; near it:" >&2 || echo "run.sh: $job has no test $name; it has:" >&2
            printf '%s\n' "${near:-$list}" >&2
            exit 2
        fi
        pattern="$pattern|$(grep -E "^${name//./\\.}(/|$)" <<< "$list" | sed 's/[.+]/\\&/g; s/.*/^&$/' | paste -sd'|')"
    done
    echo "${pattern#|}"
}

# ---- jobs ----

release=(-DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=Release)
checked=(-DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=RelWithDebInfo)

job_gcc() {
    build gcc "${release[@]}" && run_tests gcc
}
job_clang() {
    build clang -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Release && run_tests clang -R '^(fuzz|abi)/'
}
job_sanitize() {
    export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
    build sanitize "${checked[@]}" -DDISTILL_SANITIZE=address,undefined && run_tests sanitize -E '^(layers|format|abi/generated)$'
}
job_threads() {
    # What runs on several threads; a child of fork() with threads is more than ThreadSanitizer knows, so it only frees.
    export TSAN_OPTIONS=die_after_fork=0:halt_on_error=1
    targets=(test_threads test_parallel test_host test_teacher test_hosted_teacher test_loss_calls test_dataset_memory test_parallel_members test_host_ranks
        test_gradient_exchange test_several_ranks distill_program)
    build threads "${checked[@]}" -DDISTILL_SANITIZE=thread &&
        run_tests threads -R '^(api/(threads|several_ranks)|soak/serve_requests|lib/base/(parallel|host|host_ranks)|lib/optim/gradient_exchange|src/teacher/((hosted_)?teacher|parallel_members)|src/loss/loss_calls|src/dataset/dataset_memory)$'
}
job_bare() {
    targets=(test_dataset_files distill_program)
    build bare "${release[@]}" -DDISTILL_WITH_ZLIB=OFF -DDISTILL_WITH_ZSTD=OFF -DDISTILL_WITH_SERVER=OFF -DDISTILL_WITH_LIBEDIT=OFF \
        -DDISTILL_WITH_MPI=OFF && run_tests bare -R '^(src/dataset/dataset_files|cli/(parts|chat|chat_terminal))$'
}
job_cblas() {
    local selection=(-R '^(lib/(compute|model|optim)|src/(loss|trainer|teacher))/')
    mapfile -t targets < <(cd tests && printf '%s\n' lib/compute/test_*.c lib/model/test_*.c lib/optim/test_*.c src/loss/test_*.c src/trainer/test_*.c src/teacher/test_*.c |
        sed 's/.*\///; s/\.c$//')
    [ $alone = no ] || targets=() selection=()
    # a library's own threads would be part of its bits
    build cblas "${release[@]}" -DDISTILL_PRODUCTS=cblas && OPENBLAS_NUM_THREADS=1 run_tests cblas ${selection[@]+"${selection[@]}"}
}

stopped() {
    echo
    echo "run.sh: stopped in $job; what is built stays and is not built again: tests/run.sh --job $job goes on there"
    [ -z "$running" ] || count "$running"
    echo "finished:${finished:- nothing}; not finished: ${chosen[*]:$done_jobs}"
    echo "$passed passed, $failed failed, $skipped skipped"
    exit 130
}
job='' running='' finished='' done_jobs=0
trap stopped INT TERM
for job in "${chosen[@]}"; do
    targets=()
    "job_$job"
    finished="$finished $job" done_jobs=$((done_jobs + 1))
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
