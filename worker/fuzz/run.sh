#!/usr/bin/env bash
# run.sh [SECONDS]: the decoder's tests with AddressSanitizer, debug assertions and a million damaged records; then any bytes that lead
# into new code, for so many seconds (default 300). What was found stays below $SLUICE_CACHE/fuzz, so that a second run goes on there.
# The compiler is that of the workspace: RUSTC_BOOTSTRAP lets a stable one take the flags of sanitizers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

cache=${SLUICE_CACHE:-$HOME/.cache/sluice}/fuzz
corpus=$cache/corpus
mkdir -p "$corpus"
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$cache/target
export RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"

SLUICE_MUTATIONS=${SLUICE_MUTATIONS:-1000000} cargo test --release --locked --target "$host" --lib
cargo run --release --locked --target "$host" --bin decode -- \
  -max_total_time="${1:-300}" -max_len=2048 -timeout=10 -print_final_stats=1 -dict=seeds/words.dict -artifact_prefix="$cache/" "$corpus" seeds
