#!/bin/sh
# Installs agentd, agent-worker and agentctl from an unpacked tarball, on any Linux with
# glibc 2.34 or later.
#
#   ./install.sh [--dry-run] [--prefix DIR] [--only PROGRAM]… [--units] [--uninstall]
#
#   --dry-run      say what would be done, and do nothing
#   --prefix DIR   where to (/usr/local; programs go to DIR/bin)
#   --only PROGRAM agentd, agent-worker or agentctl; all three without it
#   --units        systemd units too, with users and /etc/agentd (needs root)
#   --uninstall    remove programs and units again; state and configuration stay
set -eu

prefix=/usr/local dry='' only='' units='' uninstall=''
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=yes ;;
        --prefix) prefix=${2:?"--prefix needs a folder"}; shift ;;
        --only)
            case ${2:?"--only needs a program"} in
                agentd | agent-worker | agentctl) only="$only $2" ;;
                *) echo "install: there is no program $2" >&2; exit 2 ;;
            esac
            shift ;;
        --units) units=yes ;;
        --uninstall) uninstall=yes ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0"; exit 0 ;;
        *) echo "install: what is $1? see --help" >&2; exit 2 ;;
    esac
    shift
done
[ -n "$only" ] || only='agentd agent-worker agentctl'
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"

say() { printf 'install: %s\n' "$*"; }
die() { printf 'install: %s\n' "$*" >&2; exit 1; }
# do_ COMMAND…: or say it
do_() { if [ -n "$dry" ]; then echo "would run: $*"; else "$@"; fi; }

check() {
    command -v sha256sum >/dev/null || die 'sha256sum is missing: nothing can be checked'
    sha256sum --quiet --check SHA256SUMS || die 'this tarball is damaged: fetch it again'
    for program in $only; do
        "./$program" --version >/dev/null 2>&1 ||
            die "$program does not run here: it needs Linux on the right processor and glibc 2.34 or later"
    done
}

# units_of PROGRAM: the units that belong to it
units_of() {
    case $1 in
        agentd) echo agentd.service ;;
        agent-worker) echo agent-worker.service agent-worker@.service ;;
    esac
}

user() {
    getent passwd "$1" >/dev/null || do_ useradd --system --user-group --no-create-home \
        --home-dir "/var/lib/$1" --shell /usr/sbin/nologin "$1"
    do_ install -d -m 0700 -o "$1" -g "$1" "/var/lib/$1"
}

install_units() {
    [ -n "$dry" ] || [ "$(id -u)" -eq 0 ] || die '--units needs root'
    do_ install -d /etc/agentd /etc/systemd/system
    for program in $only; do
        case $program in
            agentd) file=config.yaml ;;
            agent-worker) file=worker.yaml ;;
            *) continue ;;
        esac
        user "$program"
        do_ install -m 0644 "$file" "/etc/agentd/$file"
        for unit in $(units_of "$program"); do
            if [ -n "$dry" ]; then
                echo "would write: /etc/systemd/system/$unit, for $prefix/bin/$program"
            else
                sed "s|/usr/bin/|$prefix/bin/|" "systemd/$unit" >"/etc/systemd/system/$unit"
                chmod 0644 "/etc/systemd/system/$unit"
            fi
        done
    done
    if [ -d /run/systemd/system ]; then do_ systemctl daemon-reload; fi
    say 'start with: systemctl enable --now agentd, or agent-worker once it has joined'
}

remove() {
    for program in $only; do
        for unit in $(units_of "$program"); do
            [ -e "/etc/systemd/system/$unit" ] || continue
            if [ -d /run/systemd/system ] && [ "$unit" != agent-worker@.service ]; then
                do_ systemctl disable --now "$unit"
            fi
            do_ rm -f "/etc/systemd/system/$unit"
        done
        do_ rm -f "$prefix/bin/$program"
    done
    say 'state (/var/lib/agentd, /var/lib/agent-worker) and configuration (/etc/agentd) are left'
}

if [ -n "$uninstall" ]; then
    remove
    exit 0
fi
check
do_ install -d "$prefix/bin"
for program in $only; do
    # a program that runs cannot be overwritten, but replaced
    do_ install -m 0755 "$program" "$prefix/bin/$program.new"
    do_ mv -f "$prefix/bin/$program.new" "$prefix/bin/$program"
done
[ -z "$units" ] || install_units
[ -n "$dry" ] || say "installed into $prefix/bin: $only"
