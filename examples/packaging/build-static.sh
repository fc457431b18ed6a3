#!/bin/sh
# Builds one file that needs nothing else, into target/static/evenkeel. Linked to the C library of the machine it is built on.
set -eu
cd "$(dirname "$0")/../.."
target=$(rustc -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-target}
RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target"
mkdir -p target/static
cp "$out/$target/release/evenkeel" target/static/evenkeel
echo "target/static/evenkeel"
