#!/usr/bin/env bash
# link_all.sh BUILD [CC]: installs the build below a temporary prefix and links a program that touches every exported
# function, and the C examples, against it: shared and static, through pkg-config and through find_package.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1 cc=${2:-cc} scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
run() { # quiet unless it fails
    "$@" > "$scratch/log" 2>&1 || { cat "$scratch/log"; echo "failed: $*"; exit 1; }
}
run cmake --install "$build" --prefix "$scratch/prefix"
library=$(find "$scratch/prefix" -name 'libdistill.so.1')
libdir=$(dirname "$library")
export PKG_CONFIG_PATH=$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH} LD_LIBRARY_PATH=$libdir
python3 -B "$here/sources.py" link_all > "$scratch/link_all.c"
sources=$scratch/link_all.c
for example in "$here"/../../examples/c/*.c; do
    [ -f "$example" ] && sources="$sources;$example"
done

needs_library() { # program, yes or no
    if readelf -d "$1" | grep 'NEEDED.*libdistill\.so\.1' > /dev/null; then has=yes; else has=no; fi
    [ $has = "$2" ] || { echo "$1: needs libdistill.so.1: $has"; exit 1; }
}
shared_flags=$(pkg-config --cflags --libs distill)
# the archive of libdistill with its dependencies as shared libraries, and (below) everything as archives
all_flags=$(pkg-config --static --libs distill)
static_flags=${all_flags//-ldistill/}
IFS=';'
for source in $sources; do
    unset IFS
    name=$(basename "$source" .c)
    run "$cc" -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -o "$scratch/$name.shared" "$source" $shared_flags -lm
    run "$cc" -std=c11 -D_POSIX_C_SOURCE=200809L -o "$scratch/$name.static" "$source" $(pkg-config --cflags distill) "$libdir/libdistill.a" $static_flags -lm
    if grep -q '#include <distill.h>' "$source"; then needs_library "$scratch/$name.shared" yes; fi
    needs_library "$scratch/$name.static" no
done
run "$scratch/link_all.shared"
run "$scratch/link_all.static"

missing_archives() { # of the libraries that a fully static program needs
    local flag folders=
    for flag in $all_flags; do
        case $flag in
        -L*) folders="$folders ${flag#-L}" ;;
        -l*)
            for folder in $folders ""; do
                [ ! -f "${folder:+$folder/}lib${flag#-l}.a" ] || continue 2
            done
            [ "$("$cc" -print-file-name="lib${flag#-l}.a")" != "lib${flag#-l}.a" ] || echo "${flag#-l}"
            ;;
        esac
    done
}
whole="everything static"
missing=$(missing_archives)
if [ -z "$missing" ]; then
    run "$cc" -static -std=c11 -D_POSIX_C_SOURCE=200809L -o "$scratch/link_all.whole" "$scratch/link_all.c" $(pkg-config --static --cflags --libs distill) -lm
    if readelf -d "$scratch/link_all.whole" | grep -q NEEDED; then echo "link_all.whole needs shared libraries"; exit 1; fi
    run "$scratch/link_all.whole"
else
    whole="not everything static: no archives of $(echo $missing)"
fi

run cmake -S "$here/consumer" -B "$scratch/found" -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_C_COMPILER="$cc" "-DSOURCES=$sources"
run cmake --build "$scratch/found"
run "$scratch/found/link_all_distill"
run "$scratch/found/link_all_static"
needs_library "$scratch/found/link_all_distill" yes
needs_library "$scratch/found/link_all_static" no
run cmake -S "$here/consumer" -B "$scratch/part" -DDISTILL_SOURCE="$here/../.." -DCMAKE_C_COMPILER="$cc" "-DSOURCES=$scratch/link_all.c"
# A part of another project brings none of its files into that project's prefix, unless asked.
# What it installs of its own runs from there: the library is inside.
run cmake --build "$scratch/part"
run cmake --install "$scratch/part" --prefix "$scratch/app"
if find "$scratch/app" -type f | grep -v '/bin/link_all_'; then echo "add_subdirectory installs these"; exit 1; fi
run "$scratch/app/bin/link_all_distill"
needs_library "$scratch/app/bin/link_all_distill" no
run cmake "$scratch/part" -DDISTILL_INSTALL=ON
grep -q 'distill\.h' "$scratch/part/distill/cmake_install.cmake" || { echo "DISTILL_INSTALL=ON installs nothing"; exit 1; }
run "$scratch/prefix/bin/distill" --version
[ "$(pkg-config --modversion distill)" = "$("$scratch/prefix/bin/distill" --version | sed 's/.* //')" ] || { echo "versions differ"; exit 1; }
echo "shared and static, pkg-config and find_package, $whole"
