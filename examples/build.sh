# What every example starts from; sourced. Sets root and distill (DISTILL=PROGRAM takes one that is built already), and lets Python find evidence.py.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
distill=${DISTILL:-$root/build/release/distill}
export PYTHONPATH=$root/examples

build_with() { # a folder for the log, then a command
    mkdir -p "$1"
    "${@:2}" > "$1/build.log" 2>&1 || {
        tail -30 "$1/build.log" >&2
        echo "the build failed; all of it is in $1/build.log" >&2
        exit 1
    }
}

configure_and_build() { cmake -S "$root" -B "$root/build/release" -DCMAKE_BUILD_TYPE=Release && cmake --build "$root/build/release" -j "$(nproc)"; }

build_distill() { [ -n "${DISTILL:-}" ] || build_with "$1" configure_and_build; } # a folder for the log
