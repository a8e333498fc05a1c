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
# shellcheck source=benches/rig.sh
. "$(dirname "$0")/rig.sh"

files=$(ulimit -H -n)
ulimit -S -n "$files"
# What baton keeps for itself beside its sessions.
if [ "$files" != unlimited ] && [ "$sessions" -gt $((files - 1000)) ]; then
    echo "only $files open files are allowed here: $((files - 1000)) sessions instead of $sessions"
    sessions=$((files - 1000))
fi

start_sink 127.0.0.1:0
{
    route_to_sink
    cat <<END
[limits]
sessions_max = 1000000
sessions_per_peer_max = 1000000
END
} | configure
start_baton

machine
"$bin/baton-load" idle --to "$relay" --sessions "$sessions" --pid "$baton" --seconds 3
# Again with mail, which takes memory of its own: now only whether all survive is asked.
start idle "$bin/baton-load" idle --to "$relay" --sessions "$sessions" --seconds 15
idle=$!
until grep -q '^idle: established=' "$work/idle"; do
    kill -0 "$idle" 2>/dev/null || { cat "$work/idle" >&2; exit 1; }
    sleep 0.05
done
echo "mail while they are open:"
"$bin/baton-load" send --to "$relay" --messages 20000 --sessions 20 | tail -1
kill -0 "$idle" 2>/dev/null || echo "the mail took longer than the sessions were held"
status=0
finish "$idle" || status=$?
cat "$work/idle"
exit "$status"
