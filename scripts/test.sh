#!/usr/bin/env bash
# Runs every test: with cargo-nextest where it is installed (faster), else with cargo. The simulator has had
# a quick look among them; it then does the whole of its work with optimization.
set -euo pipefail
cd "$(dirname "$0")/.."

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked --no-fail-fast
    cargo test --workspace --locked --doc
else
    cargo test --workspace --locked --no-fail-fast
fi
cargo test --config e2e/tests/sim/optimized.toml --workspace --locked --test sim -- --nocapture --test-threads 1
