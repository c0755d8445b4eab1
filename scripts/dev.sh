#!/usr/bin/env bash
# A controller and two workers for development, their logs side by side in this
# terminal. Ctrl-C ends all of them.
#
#   scripts/dev.sh [--keep DIR] [--config FILE]
#
# The state lives in a temporary folder that is removed at the end, or in DIR
# (such as .dev), which is kept and used again. The ports are free ones, unless the
# configuration of DIR names others.
set -euo pipefail
cd "$(dirname "$0")/.."

keep='' config=()
while [ $# -gt 0 ]; do
    case "$1" in
        --keep) keep=${2:?"--keep needs a folder"}; shift 2 ;;
        --config) config=(--config "${2:?"--config needs a file"}"); shift 2 ;;
        *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; [ "$1" = --help ] && exit 0 || exit 2 ;;
    esac
done

cargo build --workspace --bins
bin=${CARGO_TARGET_DIR:-target}/debug

if [ -n "$keep" ]; then
    mkdir -p "$keep"
    state=$(cd "$keep" && pwd)
else
    state=$(mktemp -d)
fi

colours=no
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then colours=yes; fi
# prefix NAME COLOUR: puts a coloured name in front of each line; Ctrl-C leaves it to
# print the last lines
prefix() {
    local on='' off='' line
    trap '' INT
    if [ "$colours" = yes ]; then on=$'\033['"$2m" off=$'\033[0m'; fi
    while IFS= read -r line; do printf '%s%-10s|%s %s\n' "$on" "$1" "$off" "$line"; done
}

pids=()
# shellcheck disable=SC2317  # the trap calls it
stop() {
    trap '' INT TERM
    # the workers first, so that they can say goodbye to the controller
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -TERM "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    if [ -z "$keep" ]; then rm -rf "$state"; fi
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COLOUR COMMAND…: in a session of its own, so that Ctrl-C reaches only this script
start() {
    local name=$1 hue=$2
    shift 2
    setsid "$@" > >(prefix "$name" "$hue") 2>&1 &
    pids+=($!)
}

rm -f "$state/agentd/endpoints.json"
start agentd '1;36' "$bin/agentd" ${config[@]+"${config[@]}"} --state-dir "$state/agentd" \
    --local --http 127.0.0.1:0 --mqtt 127.0.0.1:0
url=''
for _ in $(seq 200); do
    kill -0 "${pids[0]}" 2>/dev/null || { echo "dev: agentd did not start" >&2; exit 1; }
    url=$(sed -n 's/.*"http":"\([^"]*\)".*/\1/p' "$state/agentd/endpoints.json" 2>/dev/null || true)
    [ -n "$url" ] && break
    sleep 0.05
done
[ -n "$url" ] || { echo "dev: agentd did not say where it listens within 10 s" >&2; exit 1; }

# a worker for development takes the best level that this machine has, also none
export AGENT_WORKER_SANDBOX__ALLOW=${AGENT_WORKER_SANDBOX__ALLOW:-strong,basic,none}
echo "dev: workers may run tools at the sandbox levels $AGENT_WORKER_SANDBOX__ALLOW; their logs say which is the best here"

AGENTCTL_URL=$url
AGENTCTL_TOKEN=$(cat "$state/agentd/admin.token")
export AGENTCTL_URL AGENTCTL_TOKEN

for name in one two; do
    hue=$([ "$name" = one ] && echo '1;32' || echo '1;33')
    # a port of 0 is another one at each start, so that kept workers join anew
    line=$("$bin/agentctl" workers join-token)
    start "worker-$name" "$hue" "$bin/agent-worker" join "${line##* }" \
        --name "dev-$name" --force --state-dir "$state/$name"
done

echo "dev: in another terminal, from this folder:"
echo "dev:   export AGENTCTL_URL=$url AGENTCTL_TOKEN=\$(cat $state/agentd/admin.token)"
echo "dev:   $bin/agentctl workers"
wait -n "${pids[@]}" || true
echo "dev: one of them ended, so that all do" >&2
exit 1
