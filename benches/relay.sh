#!/bin/bash
# How fast baton relays between Debian's smtp-source and smtp-sink, and what it costs: messages a
# second, CPU, syncs and switches a message, with one shard and with two.
#
#   benches/relay.sh [BIN] [MESSAGES]   BIN: folder of baton and baton-load (target/release)
#
# A check on `baton-load run small`: a source and a sink that nobody here wrote should see the same
# relay. They cannot be part of `baton-load run`, as they name no message: nothing shows which one
# is missing or came twice, or how long it took. So this counts only, by baton's own metrics.
# Source, relay and sink share this machine. Messages of 4 KiB to one recipient over 50 connections,
# each synced before its 250. A run is over when everything was relayed.
# Everything it makes is in a folder of its own, gone at the end. Numbers vary by a tenth between
# runs: compare runs of one machine only.
set -euo pipefail

bin=${1:-target/release}
messages=${2:-40000}
# shellcheck source=benches/rig.sh
. "$(dirname "$0")/rig.sh"
need smtp-source postfix
need smtp-sink postfix
need curl curl
PATH=$PATH:/usr/sbin

# The port of a process that was told to take any and does not say which.
listening_port() {
    local pid=$1 inode port
    while kill -0 "$pid" 2>/dev/null; do
        for inode in $(find "/proc/$pid/fd" -lname 'socket:*' -printf '%l\n' | tr -dc '0-9\n'); do
            port=$(awk -v inode="$inode" '$4 == "0A" && $10 == inode { print $2 }' /proc/net/tcp)
            [ -n "$port" ] && { echo $((16#${port#*:})); return; }
        done
        sleep 0.05
    done
    exit 1
}

start_other_sink() {
    local user=()
    # As root it insists on being told who to be.
    [ "$(id -u)" -eq 0 ] && user=(-u root)
    start sink smtp-sink "${user[@]}" 127.0.0.1:0 1024
    sink=127.0.0.1:$(listening_port $!)
}

# Sends everything and waits until it was relayed; what `baton-load cpu` measures.
flow() {
    set -e
    smtp-source -d -s 50 -l 4096 -m "$messages" -M client.test -f a@x.test -t b@y.test "$relay"
    until_relayed "$messages"
}
export -f flow
export messages relay admin

measure() {
    local shards=$1 syncs line
    start_other_sink
    rm -rf "$work/data" "$work/events.jsonl"
    route_to_sink | configure
    start_baton
    export relay admin baton
    syncs=$(metric baton_wal_syncs_total)
    line=$("$bin/baton-load" cpu --pid "$baton" --messages "$messages" -- bash -c flow)
    line=$(grep '^cpu: ' <<<"$line")
    syncs=$(($(metric baton_wal_syncs_total) - syncs))
    # shellcheck disable=SC2086  # words of `name=value`
    printf '%s\n' $line | awk -F= -v shards="$shards" -v messages="$messages" \
        -v syncs="$syncs" '{ value[$1] = $2 } END {
            printf "%6d %9d %10.0f %9.1f %10.3f %12.2f\n", shards, messages,
                messages / value["seconds"], value["cpu_us"] / messages, syncs / messages,
                value["voluntary_switches"] / messages
        }'
    stop_all
}

machine
printf '%6s %9s %10s %9s %10s %12s\n' \
    shards messages messages/s cpu_us/m syncs/m switches/m
for shards in 1 2; do
    if [ "$shards" -le "$(nproc)" ]; then measure "$shards"; fi
done
