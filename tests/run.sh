#!/usr/bin/env bash
# Builds everything and runs every test. See --help.
set -uo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'END'
usage: tests/run.sh [--quick] [--help] [NAME...]

Installs what is missing (Debian, Ubuntu: apt-get, with sudo where not root), then
  gcc        builds the release with warnings as errors and runs all tests: C, C++, Python, program, examples, layers, ABI
  clang      builds everything with warnings as errors and replays the fuzz corpora
  sanitize   builds with AddressSanitizer and UndefinedBehaviorSanitizer and runs the tests again
  threads    builds what runs on several threads with ThreadSanitizer and runs it
  bare       builds without zlib, zstd, libmicrohttpd, libedit and MPI, reads files of data and talks in a terminal
  cblas      builds with products by CBLAS alone, and runs what computes: ops, models, losses, trainers
The last line is "N passed, N failed, N skipped"; the exit code is 1 if anything failed.

  --quick    gcc only
  NAME       gcc only, and of the tests only this one (lib/base/parallel, python) or this folder of them (lib/base, fuzz)

Build folders: build/tests-gcc, build/tests-clang, build/tests-sanitize, build/tests-threads, build/tests-bare, build/tests-cblas. Tests that need the shared test assets look for them in
DISTILL_TEST_ASSETS, by default ../shared where that exists, and are skipped without.
END
}

quick=no
names=()
for argument in "$@"; do
    case $argument in
    --quick) quick=yes ;;
    --help | -h)
        usage
        exit 0
        ;;
    -*)
        echo "run.sh: unknown option $argument (see --help)" >&2
        exit 2
        ;;
    *)
        names+=("${argument%/}")
        quick=yes
        ;;
    esac
done

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
    [ $quick = yes ] || want_command clang clang
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

# what is compiled again with the same flags (cblas, bare, the wheel, an embedding project) is taken from the first build
if [ -z "${CMAKE_C_COMPILER_LAUNCHER:-}" ] && command -v ccache > /dev/null; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
    export CCACHE_DIR=${CCACHE_DIR:-$PWD/build/ccache} CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
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
jobs=$(nproc 2> /dev/null || echo 2)
passed=0 failed=0 skipped=0

# ---- one build and its tests ----

targets=() # to build; none = all
build() { # name, cmake arguments: configure and build, output only where it fails
    local name=$1 folder=build/tests-$1 started=$SECONDS
    shift
    echo "== $name: build"
    mkdir -p "$folder"
    if cmake -S . -B "$folder" -DDISTILL_TESTS=ON -DDISTILL_WERROR=ON -DPython3_EXECUTABLE="$python" "$@" > "$folder/build.log" 2>&1 &&
        cmake --build "$folder" --parallel "$jobs" ${targets[@]+--target "${targets[@]}"} >> "$folder/build.log" 2>&1; then
        echo "   $((SECONDS - started)) s"
        return 0
    fi
    grep -nE -A3 'error|Error' "$folder/build.log" | head -60
    echo "== $name: the build failed, see $folder/build.log"
    failed=$((failed + 1))
    return 1
}
run_tests() { # name, ctest arguments
    local folder=build/tests-$1 log
    log=$folder/tests.log
    echo "== $1: tests"
    shift
    (cd "$folder" && ctest --parallel "$jobs" --output-on-failure "$@") > "$log" 2>&1
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
    if [ $((ran + left + bad)) = 0 ]; then
        cat "$1"
        bad=1
    fi
    passed=$((passed + ran)) failed=$((failed + bad)) skipped=$((skipped + left))
}

# A pattern for the tests that are named; exit code 2 where a name is none.
pattern_of() { # build, names
    local list name near pattern=
    list=$(cd "build/tests-$1" && ctest -N | sed -n 's/^ *Test *#[0-9]*: //p')
    shift
    for name in "$@"; do
        if ! grep -qE "^${name//./\\.}(/|$)" <<< "$list"; then
            near=$(grep -iF -- "${name##*/}" <<< "$list")
            [ -n "$near" ] && echo "run.sh: there is no test $name; near it:" >&2 || echo "run.sh: there is no test $name; there are:" >&2
            printf '%s\n' "${near:-$list}" >&2
            exit 2
        fi
        pattern="$pattern|^${name//./\\.}(/|\$)"
    done
    echo "${pattern#|}"
}

if build gcc -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=Release; then
    if [ ${#names[@]} -gt 0 ]; then
        pattern=$(pattern_of gcc "${names[@]}") || exit 2
        run_tests gcc -R "$pattern"
    else
        run_tests gcc
    fi
fi
if [ $quick = no ]; then
    if build clang -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Release; then
        run_tests clang -R '^(fuzz|abi)/'
    fi
    export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
    if build sanitize -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DDISTILL_SANITIZE=address,undefined; then
        run_tests sanitize -E '^(layers|format|abi/generated)$'
    fi
    # What runs on several threads; a child of fork() with threads is more than ThreadSanitizer knows, so it only frees.
    export TSAN_OPTIONS=die_after_fork=0:halt_on_error=1
    targets=(test_threads test_parallel test_host test_teacher test_hosted_teacher test_loss_calls test_dataset_memory test_parallel_members test_host_ranks
        test_gradient_exchange test_several_ranks distill_program)
    if build threads -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=RelWithDebInfo -DDISTILL_SANITIZE=thread; then
        run_tests threads -R '^(api/(threads|several_ranks)|soak/serve_requests|lib/base/(parallel|host|host_ranks)|lib/optim/gradient_exchange|src/teacher/((hosted_)?teacher|parallel_members)|src/loss/loss_calls|src/dataset/dataset_memory)$'
    fi
    targets=(test_dataset_files distill_program)
    if build bare -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=Release -DDISTILL_WITH_ZLIB=OFF -DDISTILL_WITH_ZSTD=OFF \
        -DDISTILL_WITH_SERVER=OFF -DDISTILL_WITH_LIBEDIT=OFF -DDISTILL_WITH_MPI=OFF; then
        run_tests bare -R '^(src/dataset/dataset_files|cli/(parts|chat|chat_terminal))$'
    fi
    mapfile -t targets < <(cd tests && printf '%s\n' lib/compute/test_*.c lib/model/test_*.c lib/optim/test_*.c src/loss/test_*.c src/trainer/test_*.c src/teacher/test_*.c |
        sed 's/.*\///; s/\.c$//')
    # a library's own threads would be part of its bits
    if build cblas -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=Release -DDISTILL_PRODUCTS=cblas; then
        OPENBLAS_NUM_THREADS=1 run_tests cblas -R '^(lib/(compute|model|optim)|src/(loss|trainer|teacher))/'
    fi
    targets=()
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
