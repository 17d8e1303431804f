#!/usr/bin/env bash
# Checks that the C and C++ of the tree is formatted as .clang-format says; --fix formats it. Exit code 77 (skipped)
# where clang-format 14 is missing: other versions break lines elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

find_tool() {
    local name
    for name in clang-format-14 clang-format build/format-venv/bin/clang-format; do
        if "$name" --version 2> /dev/null | grep -q 'version 14\.'; then
            command -v "$name"
            return
        fi
    done
    echo "clang-format 14 is not installed (apt-get install clang-format-14, or pip install clang-format==14.0.6)" >&2
    exit 77
}
tool=$(find_tool)
list() { # generated files keep the shape that their generator gives them
    if git rev-parse --is-inside-work-tree > /dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard '*.c' '*.h' '*.cpp' '*.hpp'
    else
        find lib src include examples tests -name '*.[ch]' -o -name '*.[ch]pp' | sort
    fi | grep -v '^tests/abi/layout.c$'
}
present() { list | while IFS= read -r file; do [ ! -e "$file" ] || printf '%s\n' "$file"; done; }
if [ "${1:-}" = --fix ]; then
    present | xargs -d '\n' "$tool" -i
    exit 0
fi
wrong=$(present | xargs -d '\n' "$tool" --dry-run --Werror 2>&1 | grep -E '^[^ ].*: error:' | cut -d: -f1,2 | sort -u || true)
long=$(present | xargs -d '\n' awk 'length > 120 { printf "%s:%d: %d columns\n", FILENAME, FNR, length }')
if [ -n "$wrong$long" ]; then
    printf '%s\n' "$wrong" "$long" | grep . | head -40
    echo "not formatted: run tests/format.sh --fix"
    exit 1
fi
echo "formatted"
