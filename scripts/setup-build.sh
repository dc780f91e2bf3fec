#!/usr/bin/env bash
# Installs what compiling needs beside Rust: a C compiler and make for librdkafka and zstd, and OpenSSL's headers.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
missing=()
command -v cc >/dev/null && command -v make >/dev/null && command -v g++ >/dev/null || missing+=(build-essential)
command -v pkg-config >/dev/null || missing+=(pkg-config)
command -v pkg-config >/dev/null && pkg-config --exists openssl || missing+=(libssl-dev)
"$here/apt-install.sh" "${missing[@]}"
command -v cargo >/dev/null || { echo "please install Rust (rustup); rust-toolchain.toml names the version" >&2; exit 1; }
