#!/usr/bin/env bash
# Checks the systemd units: `systemd-analyze verify` has nothing to say, and what it says of their
# security is low enough.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v systemd-analyze >/dev/null; then
    echo "SKIP units: systemd-analyze is not installed"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# their programs and manual pages are not installed here
stand_in() { sed 's|^ExecStart=/usr/bin/[^ ]*|ExecStart=/bin/true|; s|man:[^ ]* ||' "$1" >"$work/${1##*/}"; }

failed=0
# systemd-analyze ends with 0 even where it complains
silent() {
    local said
    said=$(XDG_RUNTIME_DIR=$work systemd-analyze verify "$@" 2>&1) || true
    if [ -n "$said" ]; then
        printf 'units: %s\n' "$said" >&2
        failed=1
    fi
}
for unit in deploy/systemd/*.service; do
    stand_in "$unit"
    silent "$work/${unit##*/}"
    rm "$work/${unit##*/}"
done
for unit in deploy/systemd/user/*.service; do
    stand_in "$unit"
    silent --user "$work/${unit##*/}"
done

# exposed UNIT MOST: in tenths
exposed() {
    local score
    score=$(systemd-analyze security --offline=true --threshold=100 "deploy/systemd/$1" |
        sed -n 's/.*Overall exposure level for [^:]*: \([0-9]*\)\.\([0-9]\).*/\1\2/p')
    echo "units: exposure of $1: $((10#$score / 10)).$((10#$score % 10))"
    if ((10#$score > $2)); then
        echo "units: more than $(($2 / 10)).$(($2 % 10))" >&2
        failed=1
    fi
}
if systemd-analyze security --help 2>&1 | grep -q -- --offline; then
    exposed agentd.service 20
    exposed agent-worker.service 45
    exposed agent-worker@.service 45
else
    echo "SKIP units: this systemd-analyze judges no security offline"
fi
exit "$failed"
