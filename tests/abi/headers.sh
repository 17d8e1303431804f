#!/usr/bin/env bash
# headers.sh: each public header alone and twice, in every C and C++ of gcc and clang, with warnings as errors.
set -euo pipefail
include=$(cd "$(dirname "$0")/../../include" && pwd)
flags="-Wall -Wextra -pedantic -Werror -fsyntax-only -I$include"
failed=0 ran=0
try() { # compiler, language, standard, header
    ran=$((ran + 1))
    printf '#include "%s"\n#include "%s"\n' "$4" "$4" | "$1" $flags -x "$2" -std="$3" - || { echo "$1 $3: $4"; failed=1; }
}
for cc in gcc clang; do
    command -v $cc >/dev/null || continue
    for std in c99 c11 c17 c2x; do try $cc c $std distill.h; done
done
for cxx in g++ clang++; do
    command -v $cxx >/dev/null || continue
    for std in c++98 c++11 c++14 c++17 c++20; do try $cxx c++ $std distill.h; done
    for std in c++17 c++20; do try $cxx c++ $std distill.hpp; done
done
[ $ran -gt 0 ] || { echo "skipped: no compiler"; exit 77; }
[ $failed = 0 ] && echo "$ran compilations"
exit $failed
