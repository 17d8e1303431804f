# What every example starts from; sourced. Sets root and distill (DISTILL=PROGRAM takes one that is built already), and lets Python find evidence.py.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
distill=${DISTILL:-$root/build/release/distill}
export PYTHONPATH=$root/examples

# What make says of its progress; at a terminal in one line, elsewhere where ten percent more are done.
show_build() { # the log
    local line percent shown=-10
    while IFS= read -r line; do
        printf '%s\n' "$line" >> "$1"
        [[ $line =~ ^\[\ *([0-9]+)%\] ]] || continue
        percent=${BASH_REMATCH[1]}
        if [ -t 2 ]; then printf '\rbuilding: %3d %%' "$percent" >&2
        elif [ "$percent" -ge $((shown + 10)) ]; then echo "building: $percent %" >&2; shown=$percent; fi
    done
    [ ! -t 2 ] || printf '\r\033[K' >&2
}

build_with() { # a folder for the log, then a command
    mkdir -p "$1"
    : > "$1/build.log"
    "${@:2}" 2>&1 | show_build "$1/build.log" || {
        tail -30 "$1/build.log" >&2
        echo "the build failed; all of it is in $1/build.log" >&2
        exit 1
    }
}

configure_and_build() { cmake -S "$root" -B "$root/build/release" -DCMAKE_BUILD_TYPE=Release && cmake --build "$root/build/release" -j "$(nproc)"; }

build_distill() { [ -n "${DISTILL:-}" ] || build_with "$1" configure_and_build; } # a folder for the log

# Help comes before anything is installed or built: what the script says of itself at its head, then its program's options.
answer_help() { # the program ("" = it needs the library to say anything), then the script's arguments
    local word
    for word in "${@:2}"; do
        [ "$word" = -h ] || [ "$word" = --help ] || continue
        sed -n '2,/^[^#]/s/^# //p' "$0"
        [ -n "$1" ] || exit 0
        echo "Its program's options; the script gives FOLDER, --distill and --teacher:"
        PYTHONPATH=$root/examples:$root/examples/quickstart exec python3 "$1" --help
    done
}
