#!/usr/bin/env bash
# cpu.sh BUILD: the library starts and computes on processors without AVX-512 and without AVX2, under qemu-x86_64 (package qemu-user), and
# whatever kernels OpenBLAS is told to take. Exit code 77 (skipped) where there is no qemu-x86_64, or where this is another architecture.
set -uo pipefail
tests=$1/tests log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ "$(uname -m)" = x86_64 ] && command -v qemu-x86_64 > /dev/null || { echo "no qemu-x86_64 here (package qemu-user)"; exit 77; }
failed=0
run() { # what, command
    local what=$1
    shift
    if "$@" > "$log" 2>&1; then echo "ok: $what"; return; fi
    cat "$log"
    echo "failed: $what"
    failed=1
}
for cpu in Nehalem Haswell; do
    run "$cpu: memory and log" qemu-x86_64 -cpu $cpu "$tests/test_host"
    run "$cpu: a model scores" qemu-x86_64 -cpu $cpu "$tests/test_threads" one_teacher_for_many_threads
done
run "Haswell: products by AVX2" qemu-x86_64 -cpu Haswell "$tests/test_products" brief
run "Haswell: the choice of products" qemu-x86_64 -cpu Haswell "$tests/test_products" names
for core in "" Nehalem Prescott; do
    run "OPENBLAS_CORETYPE=$core" env OPENBLAS_CORETYPE=$core "$tests/test_threads" one_teacher_for_many_threads
done
exit $failed
