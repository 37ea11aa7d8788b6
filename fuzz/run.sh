#!/usr/bin/env bash
# fuzz/run.sh TARGET [SECONDS]: fuzz one target (request, batch, directory) with libFuzzer on the stable
# compiler. The corpus grows in fuzz/corpus; a finding is left in fuzz/artifacts and ends the run.
set -euo pipefail
cd "$(dirname "$0")"
target=${1:?usage: fuzz/run.sh request|batch|directory [SECONDS]}
seconds=${2:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-target}

# Coverage without a nightly compiler: LLVM's own pass, with what libFuzzer reads. Naming the host
# as the target keeps the flags away from build scripts and macros.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --release --target "$host" --bin "$target"
RUSTFLAGS='' cargo run --quiet --bin seeds -- corpus/seeds

mkdir -p "corpus/$target" "artifacts/$target"
exec "$folder/$host/release/$target" \
    -max_total_time="$seconds" -max_len=8192 -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="artifacts/$target/" \
    "corpus/$target" "corpus/seeds/$target" "regressions/$target"
