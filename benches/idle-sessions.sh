#!/bin/bash
# Holds idle sessions open while mail flows, and prints what each costs baton.
#
#   benches/idle-sessions.sh [BIN] [SESSIONS]   BIN: folder of baton and baton-load
#
# Both ends are on this host, each with an open file per session: where the limit of open files
# holds fewer than asked for, as many as fit are opened, and that is said. Fails when a session does
# not survive or mail does not flow. Everything it makes is in a folder of its own, gone at the end.
set -euo pipefail

bin=${1:-target/release}
sessions=${2:-10000}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/baton-idle.XXXXXX")
pids=()
finish() {
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

# The address on the first line of FILE that begins with WORD; waits for it as long as PID lives.
address() {
    local file=$1 word=$2 pid=$3 line
    until line=$(grep -m 1 "^$word " "$file" 2>/dev/null); do
        kill -0 "$pid" 2>/dev/null || { cat "$file" >&2; exit 1; }
        sleep 0.05
    done
    echo "${line#"$word "}"
}

files=$(ulimit -H -n)
ulimit -S -n "$files"
# What baton keeps for itself beside its sessions.
if [ "$files" != unlimited ] && [ "$sessions" -gt $((files - 1000)) ]; then
    echo "only $files open files are allowed here: $((files - 1000)) sessions instead of $sessions"
    sessions=$((files - 1000))
fi

"$bin/baton-load" sink --listen 127.0.0.1:0 >"$work/sink" &
pids+=($!)
sink=$(address "$work/sink" listening $!)
cat >"$work/baton.toml" <<END
hostname = "relay.test"
data_dir = "$work/data"
[[listener]]
address = "127.0.0.1:0"
[[peer]]
network = "127.0.0.0/8"
account = "local"
[[route]]
domain = "*"
via = ["$sink"]
[limits]
sessions_max = 1000000
sessions_per_peer_max = 1000000
[admin]
address = "127.0.0.1:0"
[log]
path = "$work/events.jsonl"
END
"$bin/baton" run --config "$work/baton.toml" 2>"$work/baton" &
baton=$!
pids+=("$baton")
relay=$(address "$work/baton" listening "$baton")

echo "machine: $(nproc) cores, kernel $(uname -r)"
"$bin/baton-load" idle --to "$relay" --sessions "$sessions" --pid "$baton" --seconds 3
# Again with mail, which takes memory of its own: now only whether all survive is asked.
"$bin/baton-load" idle --to "$relay" --sessions "$sessions" --seconds 15 >"$work/idle" &
idle=$!
pids+=("$idle")
until grep -q '^idle: established=' "$work/idle"; do
    kill -0 "$idle" 2>/dev/null || { cat "$work/idle" >&2; exit 1; }
    sleep 0.05
done
echo "mail while they are open:"
"$bin/baton-load" send --to "$relay" --messages 20000 --sessions 20 | tail -1
kill -0 "$idle" 2>/dev/null || echo "the mail took longer than the sessions were held"
status=0
wait "$idle" || status=$?
cat "$work/idle"
exit "$status"
