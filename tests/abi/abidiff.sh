#!/usr/bin/env bash
# abidiff.sh LIBRARY [CC]     compares the header and the library with tests/abi/libdistill-1.abi; 77 = no abidiff here
# abidiff.sh --update [CC]    writes the baseline; before 1.0.0 a commit may do so and says it, after it never
#
# Types are compared through a surface library: the header's functions with empty bodies. In the library itself the handles
# are complete types, and abidiff filters out a function whose private types changed, with whatever else changed in it. The
# library then has to match the baseline, too, which shows its names, their version and its SONAME.
# Any exit code but 0 is a break: reordered fields and changed types give only bit 4. The canaries are surfaces of broken
# copies of the header; the gate must stop each of them, or it is blind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
include=$(cd "$here/../../include" && pwd)
baseline=$here/libdistill-1.abi

needs() {
    command -v "$1" >/dev/null || { echo "skipped: $1 is not installed"; exit 77; }
}
assert_debug_info() {
    readelf -S "$1" | grep '\.debug_info' > /dev/null || { echo "$1 has no debug info, which abidiff takes for no change"; exit 1; }
}
surface() { # name, sed program on the header: leaves $scratch/name/libdistill.so.1 and its include folder
    local folder=$scratch/$1
    mkdir -p "$folder/include"
    sed -E "$2" "$include/distill.h" > "$folder/include/distill.h"
    python3 -B "$here/sources.py" stubs "$folder/include/distill.h" > "$folder/stubs.c"
    (cd "$folder" && "$cc" -g -shared -fPIC -ffile-prefix-map="$folder"=. -Iinclude -Wl,-soname,libdistill.so.1 -Wl,--version-script="$here/../../src/libdistill.map" \
        -o libdistill.so.1 stubs.c)
    assert_debug_info "$folder/libdistill.so.1"
}
compare() { # library, include folder
    abidiff --no-added-syms --hd1 "$include" --hd2 "$2" "$baseline" "$1"
}
canary() { # name, sed program
    surface "$1" "$2"
    if cmp -s "$include/distill.h" "$scratch/$1/include/distill.h"; then
        echo "canary $1 changes nothing"
        exit 1
    fi
    if compare "$scratch/$1/libdistill.so.1" "$scratch/$1/include" > "$scratch/log" 2>&1; then
        echo "the gate let canary $1 through"
        exit 1
    fi
}

needs abidiff
needs readelf
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cc=${2:-cc}
surface same ''
if [ "$1" = --update ]; then
    (cd "$scratch/same" && abidw --headers-dir include --no-corpus-path --no-comp-dir-path libdistill.so.1) > "$baseline"
    exit 0
fi
assert_debug_info "$1"
compare "$scratch/same/libdistill.so.1" "$scratch/same/include" || { echo "include/distill.h differs from tests/abi/libdistill-1.abi"; exit 1; }
compare "$1" "$include" || { echo "$1 differs from tests/abi/libdistill-1.abi"; exit 1; }
canary field_order 's/^( *)int64_t step;  ( *)\/\* steps done \*\//\1double loss2; int64_t step;/'
canary float 's/double grad_scale;/float grad_scale; float spare;/'
canary parameter 's/(distill_env_cancel\(const distill_env \*env, )int32_t/\1int64_t/'
canary removed '/^DISTILL_API void distill_report_free/d'
canary callback 's/(\*apply\)\(void \*user, int64_t step, double learning_rate, )double/\1int64_t/'
echo "the ABI is that of libdistill-1.abi, and the gate stops five canaries"
