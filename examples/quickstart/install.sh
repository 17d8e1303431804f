#!/usr/bin/env bash
# Installs what building and the quickstart need on Debian or Ubuntu, if it is not there.
set -euo pipefail
missing=()
command -v cc > /dev/null || missing+=(gcc libc6-dev)
command -v cmake > /dev/null || missing+=(cmake)
command -v make > /dev/null || missing+=(make)
command -v pkg-config > /dev/null || missing+=(pkg-config)
command -v python3 > /dev/null || missing+=(python3)
has() { pkg-config --exists "$1" 2> /dev/null; }
has openblas || has cblas || missing+=(libopenblas-dev)
has yaml-0.1 || missing+=(libyaml-dev)
has jansson || missing+=(libjansson-dev)
has libpcre2-8 || missing+=(libpcre2-dev)
has libutf8proc || missing+=(libutf8proc-dev)
[ "${1:-}" = --no-text ] || [ -e /usr/share/dictd/wn.dict.dz ] || missing+=(dict-wn)
optional=() # not worth a password: compressed data files, lines that are edited in distill chat, distill serve
has zlib || optional+=(zlib1g-dev)
has libzstd || optional+=(libzstd-dev)
has libedit || optional+=(libedit-dev)
has libmicrohttpd || optional+=(libmicrohttpd-dev)
[ "$(id -u)" = 0 ] || [ ${#missing[@]} -gt 0 ] || optional=()
[ ${#missing[@]} -gt 0 ] || [ ${#optional[@]} -gt 0 ] || exit 0
echo "installing:" "${missing[@]}" "${optional[@]}"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" > /dev/null; }
$sudo apt-get update -q > /dev/null || [ ${#missing[@]} = 0 ]
if [ ${#missing[@]} -gt 0 ] && ! install "${missing[@]}"; then
    echo "could not install ${missing[*]}: install them by hand and try again" >&2
    exit 1
fi
for package in "${optional[@]}"; do install "$package" || echo "goes on without $package"; done
