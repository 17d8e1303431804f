#!/usr/bin/env bash
# symbols.sh SHARED STATIC: the shared library exports the map's names and calls nothing that ends, prints or touches
# what belongs to the process; every name that the static one could clash with begins with dk_, di_ or distill_.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
failed=0
complain() {
    echo "$1"
    failed=1
}
wanted=$(sed -n 's/^    \(distill_[a-z0-9_]*\);$/\1/p' "$here/../../src/libdistill.map" | sort)
exported=$(nm -D --defined-only "$1" | awk '$2 != "A" {sub(/@.*/, "", $3); print $3}' | sort)
[ "$wanted" = "$exported" ] || complain "exported names differ from src/libdistill.map: $(diff <(echo "$wanted") <(echo "$exported") | grep '^[<>]' | head -5 | tr '\n' ' ')"
readelf -d "$1" | grep 'SONAME.*\[libdistill\.so\.1\]' > /dev/null || complain "the SONAME is not libdistill.so.1"

banned='abort|exit|_exit|quick_exit|atexit|__assert_fail|(__)?v?f?printf(_chk)?|puts|putchar|perror|stdout|stderr|(_|__|sig)*longjmp(_chk)?|signal|sigaction|setenv|putenv|(secure_)?getenv|setlocale|s?rand|s?random|strtok|system|popen|openblas_set_num_threads|omp_set_num_threads'
found=$(nm -D --undefined-only "$1" | awk '{sub(/@.*/, "", $2); print $2}' | grep -Ex "$banned" || true)
[ -z "$found" ] || complain "the library calls what it must not: $(echo $found)"

clash=$(nm -g --defined-only "$2" 2>/dev/null | awk 'NF == 3 {print $3}' | grep -Ev '^(dk_|di_|distill_|__|asan\.|DW\.)' || true)
[ -z "$clash" ] || complain "names without a prefix in the static library: $(echo $clash | cut -c1-300)"
[ "$failed" = 0 ] && echo "$(echo "$exported" | wc -l) names"
exit $failed
