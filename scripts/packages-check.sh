#!/usr/bin/env bash
# Installs the packages in fresh Debian systems, upgrades them over a database with jobs, removes
# and purges them, and looks at what is there after each step.
#
#   scripts/packages-check.sh [amd64 | arm64]…
#
# Needs root. Without an argument: this machine's architecture, with the programs that the tests
# use. Where systemd-nspawn can boot, the system is a booted one, with systemd and our units;
# otherwise it is a chroot. The fresh systems are kept in target/packages-check for the next time.
# AGENTD_BINARIES names a folder of finished programs.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly target=${CARGO_TARGET_DIR:-target}
readonly cache=$PWD/$target/packages-check
readonly suite=${AGENTD_DEBIAN:-bookworm}
readonly wanted=adduser,bubblewrap,ca-certificates,curl,git,init-system-helpers,systemd,systemd-sysv
native=$(dpkg --print-architecture 2>/dev/null || echo none)

skip() { echo "SKIP packages: $*"; exit 0; }
say() { printf 'packages-check: %s\n' "$*"; }
[ "$(id -u)" -eq 0 ] || skip 'they are installed in a fresh system by root alone'
for tool in debootstrap dpkg-deb help2man; do
    command -v "$tool" >/dev/null || skip "$tool is not installed (apt-get install debootstrap dpkg help2man)"
done
[ $# -gt 0 ] || set -- "$native"

# fresh ARCH: a Debian of that architecture in $cache/ARCH
fresh() {
    [ ! -e "$cache/$1.ready" ] || return 0
    say "making a fresh Debian $suite for $1"
    local mirror
    mirror=$(sed -n 's/^URIs: *//p; s/^deb *\(\[[^]]*\] *\)\{0,1\}\([^ ]*debian\)\/\{0,1\} .*/\2/p' \
        /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -1)
    rm -rf "${cache:?}/$1"
    debootstrap --variant=minbase --arch="$1" --include="$wanted" "$suite" "$cache/$1" \
        ${mirror:+"$mirror"} >"$cache/$1.log" 2>&1 || {
        tail -3 "$cache/$1.log" >&2
        return 1
    }
    rm -f "$cache/$1"/var/cache/apt/archives/*.deb
    : >"$cache/$1.ready"
}

# package ARCH VERSION FOLDER
package() {
    CARGO_TARGET_DIR=$target AGENTD_PACKAGE_VERSION=$2 AGENTD_PACKAGE_LEVEL=0 scripts/packages.sh "$1" >/dev/null
    mkdir -p "$3"
    mv "$target/packages"/*_"$2_$1.deb" "$3/"
    rm -f "$target/packages/agentd-$2"-*
}

check() {
    local arch=$1 root=$work/root said=$work/said
    if [ -z "${AGENTD_BINARIES:-}" ] && [ "$arch" = "$native" ]; then
        "${CARGO:-cargo}" build --workspace --bins --locked
        export AGENTD_BINARIES=$target/debug
    fi
    fresh "$arch"
    cp -a "$cache/$arch" "$root"
    mkdir -p "$root/check"
    package "$arch" 0.0.1 "$root/check/old"
    package "$arch" 0.0.2 "$root/check/new"
    if command -v lintian >/dev/null; then
        lintian --fail-on error --allow-root --no-tag-display-limit "$root"/check/new/*.deb
    else
        echo 'SKIP lintian: it is not installed'
    fi
    install -m 755 scripts/packages-inside.sh "$root/check/inside"
    if [ "$arch" = "$native" ] && boots "$root"; then
        booted "$root" "$said"
    else
        echo "SKIP systemd: a booted system of $arch is not to be had here, so that daemons are started by hand"
        mount -t proc proc "$root/proc"
        chroot "$root" /check/inside chroot >"$said" 2>&1 || true
        umount "$root/proc"
    fi
    cat "$said"
    grep -qx 'inside: all is well' "$said"
}

nspawn() { systemd-nspawn --quiet --register=no --keep-unit --directory "$@"; }
boots() { command -v systemd-nspawn >/dev/null && nspawn "$1" /bin/true >/dev/null 2>&1; }

booted() {
    local root=$1
    cat >"$root/etc/systemd/system/check.service" <<'UNIT'
[Unit]
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
Environment=HOME=/root
ExecStart=/check/inside booted
StandardOutput=file:/check/said
StandardError=inherit
TimeoutStartSec=15min
UNIT
    mkdir -p "$root/etc/systemd/system/default.target.wants"
    ln -s ../check.service "$root/etc/systemd/system/default.target.wants/"
    timeout 1000 systemd-nspawn --quiet --register=no --keep-unit --directory "$root" --boot \
        >"$work/console" 2>&1 </dev/null || true
    cp "$root/check/said" "$2"
}

mkdir -p "$cache"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
for arch in "$@"; do
    check "$arch"
    rm -rf --one-file-system "${work:?}"/*
done
