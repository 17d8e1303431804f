#!/usr/bin/env bash
# aarch64.sh [PATTERN]: cross-builds for aarch64 and runs what computes under qemu-aarch64: ops and products, losses, and a small model forward,
# backward and writing. PATTERN names other tests of these folders, as ctest -R has it. Installs Debian's cross compiler and qemu-user where
# they are missing; libraries for arm64 are fetched from the sources of packages that this machine has and unpacked in build/tests-aarch64, and
# nothing of the system is changed. Exit code 77 (skipped) where these sources have none.
set -uo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
--help | -h) sed -n '2,5s/^# //p' "$0"; exit ;;
esac
pattern=${1:-'^(lib/compute|src/loss)/|^lib/model/(backward|generate|quantised)$'}
build=$PWD/build/tests-aarch64 root=$PWD/build/tests-aarch64/root jobs=$(nproc 2> /dev/null || echo 2)
triple=aarch64-linux-gnu

# ---- packages ----
missing=()
command -v $triple-gcc > /dev/null || missing+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
command -v qemu-aarch64 > /dev/null || missing+=(qemu-user)
if [ ${#missing[@]} -gt 0 ]; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "installing: ${missing[*]}"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" > /dev/null || exit 1
fi

libraries=(libc6 libgcc-s1 libgfortran5 libopenblas0-pthread libopenblas-pthread-dev libyaml-0-2 libyaml-dev libjansson4 libjansson-dev
    libpcre2-8-0 libpcre2-dev libutf8proc2 libutf8proc-dev zlib1g zlib1g-dev)
fetch() { # apt-get for another architecture, with lists and a cache of its own
    local apt=$build/apt
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/packages"
    : > "$apt/state/status"
    (cd "$apt/packages" && apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/state/status" \
        -o "Dir::Cache=$apt/cache" -o Debug::NoLocking=1 -o "APT::Sandbox::User=$(id -un)" "$@")
}
if [ ! -e "$root/complete" ]; then
    echo "== libraries for arm64"
    mkdir -p "$root"
    if ! { fetch update && fetch download "${libraries[@]}"; } > "$build/apt.log" 2>&1; then
        tail -5 "$build/apt.log"
        echo "aarch64.sh: the sources of packages here have not the libraries for arm64"
        exit 77
    fi
    for package in "$build"/apt/packages/*.deb; do dpkg-deb -x "$package" "$root" || exit 1; done
    touch "$root/complete"
fi

# ---- build ----
lib=$root/usr/lib/$triple blas=$root/usr/lib/$triple/openblas-pthread
export PKG_CONFIG_LIBDIR=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
include="-isystem $root/usr/include/$triple/openblas-pthread -isystem $root/usr/include/$triple -isystem $root/usr/include"
echo "== aarch64: build"
cmake -S . -B "$build" -DDISTILL_TESTS=ON -DDISTILL_WERROR=ON -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_C_COMPILER=$triple-gcc -DCMAKE_FIND_ROOT_PATH="$root" -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY \
    -DCMAKE_FIND_ROOT_PATH_MODE_PROGRAM=NEVER -DCMAKE_C_FLAGS="$include" -DCMAKE_EXE_LINKER_FLAGS="-Wl,-rpath-link,$lib:$root/lib/$triple" \
    -DCMAKE_CROSSCOMPILING_EMULATOR="qemu-aarch64;-L;$root" -DDISTILL_BLAS="$blas/libopenblas.so" -DDISTILL_SHARED=OFF -DDISTILL_STATIC=OFF \
    -DDISTILL_PROGRAM=OFF -DDISTILL_INSTALL=OFF -DDISTILL_WITH_ZLIB=OFF -DDISTILL_WITH_ZSTD=OFF > "$build/build.log" 2>&1 ||
    { tail -20 "$build/build.log"; exit 1; }
mapfile -t targets < <(cd "$build" && ctest -N -R "$pattern" | sed -nE 's/^ *Test *#[0-9]+: .*\/([a-z0-9_]+)$/test_\1/p' |
    sed -E 's/^(test_products)_.*/\1/; s/^(test_(backward|generate|quantised))_.*/\1/; s/_hidden_memory$//' | sort -u)
cmake --build "$build" --parallel "$jobs" --target "${targets[@]}" >> "$build/build.log" 2>&1 ||
    { grep -nE -A3 'error|Error' "$build/build.log" | head -60; exit 1; }

# ---- tests ----
echo "== aarch64: tests"
cd "$build" && OPENBLAS_NUM_THREADS=1 exec ctest --parallel "$jobs" --output-on-failure -R "$pattern"
