#!/bin/bash
# The part of scripts/packages-check.sh that runs inside the fresh system: `booted` or `chroot`.
set -euo pipefail
readonly how=$1
readonly url=http://127.0.0.1:8484
export DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root AGENTCTL_URL=$url
cd /

say() { printf 'inside: %s\n' "$*"; }
die() { say "FAILED: $*"; tail -n 5 /check/*.log 2>/dev/null; exit 1; }
trap 'say "FAILED in line $LINENO: $BASH_COMMAND"; tail -n 5 /check/*.log' ERR
trap 'stop' EXIT

# eventually COMMAND…: true within a minute
eventually() {
    local try
    for try in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    "$@" || die "not within a minute: $*, tried $try times"
}
is() { [ "$1" = "$2" ] || die "$3: it is $1, not $2"; }
files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /check -o -path /var/tmp \
        -o -path /root -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg \) -prune -o -print | sort
}
accounts() { cut -d : -f 1 /etc/passwd /etc/group | sort; }

pids=''
# start PROGRAM ARGUMENT…, as the unit of that name does
start() {
    if [ "$how" = booted ]; then
        eventually systemctl --quiet is-active "$1.service"
    else
        local user=$1
        setpriv --reuid="$user" --regid="$user" --clear-groups env HOME="/var/lib/$user" "$@" \
            --state-dir "/var/lib/$user" >"/check/$user.log" 2>&1 &
        pids="$pids $!"
    fi
}
stop() {
    [ "$how" = chroot ] || return 0
    local pid
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=''
}
login() {
    eventually curl --silent --fail "$url/readyz"
    AGENTCTL_TOKEN=$(cat /var/lib/agentd/admin.token)
    export AGENTCTL_TOKEN
}
jobs() { agentctl ps --limit 200 -o json | grep -o '"number": *[0-9]*' | sort -u | wc -l; }

files >/check/files.before
accounts >/check/accounts.before

say "== install"
dpkg --install /check/old/*.deb
for path in /var/lib/agentd /var/lib/agent-worker /etc/agentd/config.yaml /etc/agentd/worker.yaml \
    /usr/bin/agentd /usr/bin/agent-worker /usr/bin/agentctl /usr/lib/systemd/system/agentd.service \
    /usr/share/man/man8/agentd.8.gz /usr/share/bash-completion/completions/agentctl; do
    stat --format '%A %U:%G %n' "$path"
done
is "$(stat --format %a:%U /var/lib/agentd)" 700:agentd 'state folder of agentd'
is "$(stat --format %a:%U /var/lib/agent-worker)" 700:agent-worker 'state folder of agent-worker'
getent passwd agentd agent-worker
dpkg-query --show --showformat '${Conffiles}\n' agentd agent-worker | grep -c ' /etc/agentd/' | grep -qx 2
if [ "$how" = booted ]; then
    said=$(systemd-analyze verify /usr/lib/systemd/system/agentd.service \
        /usr/lib/systemd/system/agent-worker.service /usr/lib/systemd/system/agent-worker@.service 2>&1 |
        grep -v "Command 'man " || true)
    is "$said" '' 'what systemd-analyze verify says'
fi

say "== work"
start agentd --config /etc/agentd/config.yaml
login
read -ra line <<<"$(agentctl workers join-token)"
setpriv --reuid=agent-worker --regid=agent-worker --clear-groups env HOME=/var/lib/agent-worker \
    "${line[@]}" --state-dir /var/lib/agent-worker >/check/join.log 2>&1 &
joining=$!
eventually grep -q '^joined' /check/join.log
kill "$joining"
wait "$joining" || true
if [ "$how" = booted ]; then systemctl start agent-worker.service; fi
start agent-worker --config /etc/agentd/worker.yaml
agentctl run run -- sh -c 'echo a job of the package' || { agentctl logs @last || true; cat /check/*.log || true; journalctl -n 40 --no-pager || true; die 'the job failed'; }
agentctl workers -o json | grep -o '"sandbox[^,]*' | head -1 || true
for _ in $(seq 10); do agentctl submit run -- true >/dev/null; done
before=$(jobs)
[ "$before" -ge 11 ] || die "only $before jobs are listed"
echo 'limits: {offer_s: 31}' >/etc/agentd/config.local.yaml

if [ "$how" = booted ]; then
    say "== systemd"
    systemctl show agentd agent-worker -p Id -p Type -p ActiveState -p StatusText -p NRestarts
    eventually sh -c "systemctl show agentd -p StatusText | grep -q '1 of 1 workers online'"
    eventually sh -c "systemctl show agent-worker -p StatusText | grep -q 'connected to'"
    # a process that lives and does not work is ended and started again
    mkdir -p /run/systemd/system/agentd.service.d
    printf '[Service]\nWatchdogSec=6\n' >/run/systemd/system/agentd.service.d/short.conf
    systemctl daemon-reload
    systemctl restart agentd
    at=$(systemctl show agentd -p WatchdogTimestampMonotonic --value)
    eventually sh -c "[ \$(systemctl show agentd -p WatchdogTimestampMonotonic --value) -gt $at ]"
    kill -STOP "$(systemctl show agentd -p MainPID --value)"
    eventually sh -c "systemctl show agentd -p NRestarts --value | grep -qv '^0\$'"
    journalctl -u agentd --no-pager | grep -i watchdog | tail -2
    rm -r /run/systemd/system/agentd.service.d
    systemctl daemon-reload
    systemctl restart agentd
    login
fi

say "== upgrade"
stop
dpkg --install /check/new/*.deb
is "$(dpkg-query --show --showformat '${Version}' agentd)" 0.0.2 'the version'
start agentd --config /etc/agentd/config.yaml
start agent-worker --config /etc/agentd/worker.yaml
login
is "$(jobs)" "$before" 'jobs after the upgrade'
agentctl run run -- true
is "$(cat /etc/agentd/config.local.yaml)" 'limits: {offer_s: 31}' 'the configuration of the owner'

say "== remove"
stop
dpkg --remove agentd agent-worker agentctl
[ ! -e /usr/bin/agentd ] && [ ! -e /usr/lib/systemd/system/agentd.service ]
[ -s /var/lib/agentd/agentd.db ] && [ -s /var/lib/agent-worker/credential.json ] && [ -s /etc/agentd/config.local.yaml ]
for exe in /proc/[0-9]*/exe; do
    case $(readlink "$exe" || true) in /usr/bin/agent*) die "$exe still runs after the removal" ;; esac
done

say "== install again"
dpkg --install /check/new/*.deb
start agentd --config /etc/agentd/config.yaml
login
is "$(jobs)" "$((before + 1))" 'jobs after the removal'

say "== purge"
stop
dpkg --purge agentd agent-worker agentctl
files >/check/files.after
accounts >/check/accounts.after
diff /check/files.before /check/files.after || die 'files are left or missing'
diff /check/accounts.before /check/accounts.after || die 'accounts are left or missing'
say 'all is well'
