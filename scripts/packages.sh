#!/usr/bin/env bash
# Makes .deb packages of agentd, agent-worker and agentctl, and tarballs for other hosts, in
# target/packages.
#
#   scripts/packages.sh [amd64 | arm64]…
#
# Without an argument both. AGENTD_BINARIES names a folder of finished programs instead (for one
# architecture); AGENTD_PACKAGE_VERSION a version, AGENTD_PACKAGE_LEVEL how hard to compress (0 to 9).
set -euo pipefail
cd "$(dirname "$0")/.."

readonly target=${CARGO_TARGET_DIR:-target}
readonly out=$target/packages
readonly homepage=https://github.com/agentd/agentd
readonly maintainer='agentd contributors <agentd@users.noreply.github.com>'
native=$(dpkg --print-architecture)

say() { printf 'packages: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }
for tool in dpkg-deb help2man gzip; do
    command -v "$tool" >/dev/null || die "$tool is missing: sudo apt-get install dpkg help2man gzip"
done

# A tagged commit is the version of the workspace; what leads to it sorts before it.
version() {
    local base
    base=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
    if ! git rev-parse --git-dir >/dev/null 2>&1 || [ "$(git tag --points-at HEAD "v$base")" ]; then
        echo "$base"
    else
        echo "$base~git$(git rev-list --count HEAD).$(git rev-parse --short=8 HEAD)"
    fi
}

# binaries ARCH: builds the programs unless they are given, and says where they are
binaries() {
    if [ -n "${AGENTD_BINARIES:-}" ]; then
        echo "$AGENTD_BINARIES"
    elif [ "$1" = "$native" ]; then
        "${CARGO:-cargo}" build --release --locked -p controller -p worker -p ctl >&2
        echo "$target/release"
    elif [ "$1" = arm64 ]; then
        scripts/arm64.sh >&2
        echo "$target/aarch64-unknown-linux-gnu/release"
    else
        die "there is no cross-build for $1 here"
    fi
}

# run PROGRAM ARGUMENT…: of whichever architecture
run() {
    if [ "$arch" = "$native" ]; then "$@"; else "qemu-$(machine)-static" -L "/usr/$(machine)-linux-gnu" "$@"; fi
}
machine() { if [ "$arch" = arm64 ]; then echo aarch64; else echo x86_64; fi; }

# page PROGRAM SECTION TITLE: a manual page from what `--help` says
page() {
    local asked=$work/$1
    printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$([ "$arch" = "$native" ] ||
        echo "qemu-$(machine)-static -L /usr/$(machine)-linux-gnu")" "$work/bin/$1" >"$asked"
    chmod 755 "$asked"
    COLUMNS=100 help2man --no-info --section "$2" --name "$3" --source agentd \
        --manual 'agentd' "$asked" | gzip -9n
}

# begin PACKAGE: an empty root with what every package has
begin() {
    package=$1 root=$work/$1.root
    mkdir -p "$root/DEBIAN" "$root/usr/share/doc/$package"
    sed "s/PACKAGE/$package/" deploy/debian/lintian-overrides >"$work/overrides"
    install -D -m 644 "$work/overrides" "$root/usr/share/lintian/overrides/$package"
    install -m 644 deploy/debian/copyright deploy/README.md "$root/usr/share/doc/$package/"
    gzip -9n <CHANGELOG.md >"$root/usr/share/doc/$package/NEWS.gz"
    printf '%s (%s) unstable; urgency=medium\n\n  * What users notice: NEWS.gz in this folder.\n\n -- %s  %s\n' \
        "$package" "$version" "$maintainer" "$(date -R -u -d "@$SOURCE_DATE_EPOCH")" |
        gzip -9n >"$root/usr/share/doc/$package/changelog.gz"
    install -D -m 755 "$work/bin/$package" "$root/usr/bin/$package"
}

# finish RELATIONS SUMMARY TEXT
finish() {
    local script
    for script in postinst prerm postrm; do
        if [ -e "deploy/debian/$package.$script" ]; then
            install -m 755 "deploy/debian/$package.$script" "$root/DEBIAN/$script"
        fi
    done
    if [ -d "$root/etc" ]; then (cd "$root" && find etc -type f | sed 's|^|/|') >"$root/DEBIAN/conffiles"; fi
    (cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    cat >"$root/DEBIAN/control" <<CONTROL
Package: $package
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -k -s --apparent-size "$root" | cut -f 1)
$1
Section: admin
Priority: optional
Homepage: $homepage
Description: $2
$(fold -s -w 75 <<<"$3" | sed 's/ *$//; s/^/ /')
CONTROL
    find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
    chmod -R u=rwX,go=rX "$root"
    dpkg-deb --root-owner-group -Zxz "-z${AGENTD_PACKAGE_LEVEL:-6}" --build "$root" "$out/${package}_${version}_$arch.deb" >/dev/null
    say "$out/${package}_${version}_$arch.deb"
}

controller() {
    begin agentd
    install -D -m 644 configs/config.yaml "$root/etc/agentd/config.yaml"
    install -D -m 644 deploy/systemd/agentd.service "$root/usr/lib/systemd/system/agentd.service"
    mkdir -p "$root/usr/share/man/man8"
    page agentd 8 'the controller of agentd' >"$root/usr/share/man/man8/agentd.8.gz"
    finish "Depends: adduser, init-system-helpers (>= 1.52), libc6 (>= 2.34), libgcc-s1
Recommends: agentctl
Suggests: agent-worker" 'controller that turns tasks into verified patches' \
        'agentd plans and remembers: HTTP API, queue, database and MQTT broker in one process, small enough for a Raspberry Pi. Workers on other machines read the repository, ask a model, edit, run the checks and verify the result.'
}

worker() {
    local unit
    begin agent-worker
    install -D -m 644 configs/worker.yaml "$root/etc/agentd/worker.yaml"
    for unit in agent-worker.service agent-worker@.service; do
        install -D -m 644 "deploy/systemd/$unit" "$root/usr/lib/systemd/system/$unit"
    done
    install -D -m 644 deploy/systemd/user/agent-worker.service "$root/usr/lib/systemd/user/agent-worker.service"
    mkdir -p "$root/usr/share/man/man8"
    page agent-worker 8 'runs steps for an agentd controller' >"$root/usr/share/man/man8/agent-worker.8.gz"
    finish 'Depends: adduser, ca-certificates, git, init-system-helpers (>= 1.52), libc6 (>= 2.34), libgcc-s1
Recommends: bubblewrap' 'worker that runs steps for an agentd controller' \
        'agent-worker joins a controller with a one-time token, and runs its steps on this machine: git, commands and checks in a sandbox, and conversations with models.'
}

cli() {
    local completions=$work/completions
    begin agentctl
    mkdir -p "$root/usr/share/man/man1" "$completions"
    page agentctl 1 'gives tasks to agentd and brings back verified patches' >"$root/usr/share/man/man1/agentctl.1.gz"
    run "$work/bin/agentctl" completion bash >"$completions/bash"
    run "$work/bin/agentctl" completion zsh >"$completions/zsh"
    run "$work/bin/agentctl" completion fish >"$completions/fish"
    install -D -m 644 "$completions/bash" "$root/usr/share/bash-completion/completions/agentctl"
    install -D -m 644 "$completions/zsh" "$root/usr/share/zsh/vendor-completions/_agentctl"
    install -D -m 644 "$completions/fish" "$root/usr/share/fish/vendor_completions.d/agentctl.fish"
    finish 'Depends: libc6 (>= 2.34), libgcc-s1
Recommends: ca-certificates, git' 'command line of agentd' \
        'agentctl submits tasks to an agentd controller, follows them, explains what happened, and applies the resulting patches.'
}

# tarball: the programs with what another Linux needs to install them
tarball() {
    local name folder sums=$work/SHA256SUMS
    name=agentd-$version-linux-$(machine)
    folder=$work/$name
    mkdir -p "$folder"
    install -m 755 "$work/bin/"* deploy/install.sh "$folder/"
    install -m 644 LICENSE CHANGELOG.md deploy/README.md configs/config.yaml configs/worker.yaml "$folder/"
    cp -r deploy/systemd "$folder/systemd"
    chmod -R u=rwX,go=rX "$folder"
    (cd "$folder" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$sums"
    mv "$sums" "$folder/"
    tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime "@$SOURCE_DATE_EPOCH" \
        --directory "$work" "$name" | gzip -9n >"$out/$name.tar.gz"
    (cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
    say "$out/$name.tar.gz"
}

version=${AGENTD_PACKAGE_VERSION:-$(version)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
[ $# -gt 0 ] || set -- amd64 arm64
mkdir -p "$out"
work=''
trap 'rm -rf "$work"' EXIT
umask 022
for arch in "$@"; do
    built=$(binaries "$arch")
    work=$(mktemp -d)
    tools=''
    [ "$arch" = "$native" ] || tools=$(machine)-linux-gnu-
    mkdir -p "$work/bin"
    for program in agentd agent-worker agentctl; do
        "${tools}strip" -o "$work/bin/$program" "$built/$program"
    done
    scripts/glibc.sh "$work/bin/"*
    controller
    worker
    cli
    tarball
    rm -rf "$work"
done
