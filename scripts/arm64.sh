#!/usr/bin/env bash
# Cross-builds agentd, agent-worker and agentctl for 64-bit ARM, such as a Raspberry Pi.
#
#   scripts/arm64.sh [CARGO ARGUMENT…]
#
# Uses the toolchain that is here, with a linker from Debian's packages and a standard
# library from the first of: what is installed, rustup, the sources that Debian packages
# (kept in target/arm64/, so that a second run fetches nothing). Everything that came out
# must run with glibc 2.34, which Raspberry Pi OS and Debian 12 and later have.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly triple=aarch64-unknown-linux-gnu
readonly target=${CARGO_TARGET_DIR:-target}
readonly cache=$target/arm64
cargo=${CARGO:-cargo}

say() { printf 'arm64: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

# packages COMMAND:PACKAGE…: installs those whose command is not there
packages() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] || die "missing: run \`sudo apt-get install ${missing[*]}\`, then this again"
    say "installing ${missing[*]}"
    local apt=(apt-get -q -o DPkg::Lock::Timeout=300)
    export DEBIAN_FRONTEND=noninteractive
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || {
        "${apt[@]}" update >/dev/null
        "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
    }
}

has_std() { compgen -G "$(rustc --print sysroot)/lib/rustlib/$triple/lib/libstd-*" >/dev/null; }

# The sources of the standard library of exactly this compiler, as Debian packages them, put
# into a copy of the toolchain (hard links), where cargo builds them with the rest.
std_from_source() {
    local version chain apt keys=/usr/share/keyrings/debian-archive-keyring.gpg
    version=$(rustc --version | cut -d ' ' -f 2)
    chain=$PWD/$cache/toolchain-$version
    if [ ! -e "$chain/ready" ]; then
        say "fetching the sources of Rust's standard library $version"
        local mirror suite=${AGENTD_RUST_SRC_SUITE:-trixie-backports}
        mirror=$(sed -n 's/^URIs: *//p; s/^deb *\(\[[^]]*\] *\)\{0,1\}\([^ ]*debian\)\/\{0,1\} .*/\2/p' \
            /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -1)
        [ -n "$mirror" ] || die "this machine has no Debian archive: install the target $triple of your Rust"
        rm -rf "$chain" "$cache/apt" "$cache/src"
        mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial" "$cache/src"
        echo "deb [signed-by=$keys] $mirror $suite main" >"$cache/apt/sources.list"
        apt=(-q -o "Dir::Etc::sourcelist=$PWD/$cache/apt/sources.list" -o Dir::Etc::sourceparts=-
            -o "Dir::State::lists=$PWD/$cache/apt/lists" -o "Dir::Cache=$PWD/$cache/apt/cache"
            -o APT::Sandbox::User=root)
        apt-get "${apt[@]}" update >/dev/null
        local exact
        exact=$(apt-cache "${apt[@]}" madison rust-src | awk -v v="$version" 'index($3, v "+") == 1 {print $3; exit}')
        [ -n "$exact" ] || die "Debian's $suite has no rust-src $version: install the target $triple of your Rust"
        (cd "$cache/src" && apt-get "${apt[@]}" download "rust-src=$exact" >/dev/null && dpkg-deb -x ./*.deb .)
        cp -al "$(rustc --print sysroot)" "$chain"
        mkdir -p "$chain/lib/rustlib/src/rust"
        cp -a "$cache/src/usr/src/rustc-$version/library" "$chain/lib/rustlib/src/rust/"
        rm -rf "$cache/src" "$cache/apt"
        : >"$chain/ready"
    fi
    export RUSTC_BOOTSTRAP=1 PATH="$chain/bin:$PATH"
    cargo=$chain/bin/cargo
    extra=("-Zbuild-std=std,panic_abort")
}

packages aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu aarch64-linux-gnu-objdump:binutils-aarch64-linux-gnu
[ -e /usr/aarch64-linux-gnu/include/stdio.h ] || packages no-such-command:libc6-dev-arm64-cross

extra=()
if [ "${AGENTD_ARM64_STD:-}" = source ]; then
    std_from_source
elif ! has_std; then
    if command -v rustup >/dev/null && timeout 300 rustup target add "$triple"; then :; else std_from_source; fi
fi

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
begun=$SECONDS
[ $# -gt 0 ] || set -- -p controller -p worker -p ctl
"$cargo" build --release --locked --target "$triple" ${extra[@]+"${extra[@]}"} "$@"
say "built in $((SECONDS - begun)) s"

for program in agentd agent-worker agentctl; do
    binary=$target/$triple/release/$program
    [ -x "$binary" ] || continue
    scripts/glibc.sh "$binary"
done
