#!/usr/bin/env bash
# Puts llama.cpp, as the npm package node-llama-cpp carries it built, into FOLDER: what runs on this machine's processor alone.
# Usage: install_llama.sh FOLDER
set -euo pipefail
export NODE_LLAMA_CPP_SKIP_DOWNLOAD=true
version=3.22.1 packages=()
case $(node -p process.platform) in
linux) packages=(--omit=optional "@node-llama-cpp/linux-$(node -p process.arch)@$version") ;; # the optional ones are 600 MB for GPUs
esac
npm install --prefix "$1" --no-audit --no-fund "node-llama-cpp@$version" "${packages[@]}"
