#!/usr/bin/env bash
# report.sh: builds with gcov's counters in build/coverage, runs the tests there, and prints line coverage of lib/ and src/ and the figures
# of the gates. --figures: only those that need no build.
set -uo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
'') ;;
--figures) exec python3 -B tests/report.py ;;
*) sed -n '2,3s/^# //p' "$0"; [ "$1" = --help ] || [ "$1" = -h ]; exit ;;
esac
build=build/coverage
mkdir -p $build
echo "== build"
cmake -S . -B $build -DDISTILL_TESTS=ON -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="--coverage -O1" \
    -DCMAKE_CXX_FLAGS=--coverage > $build/build.log 2>&1 && cmake --build $build --parallel "$(nproc)" >> $build/build.log 2>&1 ||
    { tail -20 $build/build.log; exit 1; }
find $build -name '*.gcda' -delete
echo "== tests"
(cd $build && ctest --parallel "$(nproc)" -E '^(abi|examples|format|layers)' > tests.log 2>&1)
grep -E 'tests passed|Failed' $build/tests.log
exec python3 -B tests/report.py $build
