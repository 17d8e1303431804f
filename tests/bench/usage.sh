# usage.sh - what the scripts of races share: --help prints the comment on top of a script, and arguments are looked at before anything is installed or runs.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }
wrong() { echo "$(basename "$0"): $* (see --help)" >&2; exit 2; }
case ${1:-} in --help | -h) usage; exit 0 ;; esac

library_of() { # the first argument: a shared library that is there
    case ${1:-} in
        "") wrong "LIBRARY is missing" ;;
        -*) wrong "LIBRARY comes first, not $1" ;;
    esac
    [ -f "$1" ] || wrong "$1: there is no such library"
    realpath "$1"
}

whole() { # a name, and what is to be a whole number from 1 on
    [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || wrong "$1 is a whole number from 1 on, not '$2'"
}
