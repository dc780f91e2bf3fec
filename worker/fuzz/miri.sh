#!/usr/bin/env bash
# miri.sh: the decoder's kernels, their twins and whole records under Miri, which sees every access to memory. Some minutes.
# Needs a nightly compiler with it: rustup toolchain install nightly --profile minimal --component miri,rust-src
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

export CARGO_TARGET_DIR=${SLUICE_CACHE:-$HOME/.cache/sluice}/fuzz/miri
# Properties save their seeds in files. Miri is a thousand times slower: few cases, and not the two tests with tens of thousands of members.
export MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=${PROPTEST_CASES:-8}
cargo +"${SLUICE_NIGHTLY:-nightly}" miri test --locked --lib -- \
  decode::scan decode::leaf decode::tests::records decode::tests::types --skip ever_new_keys --skip a_big_map
