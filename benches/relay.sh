#!/bin/bash
# How fast baton relays, and what it costs: messages a second, CPU, syncs and switches a message.
#
#   benches/relay.sh [BIN] [MESSAGES]   BIN: folder of baton and baton-load (target/release)
#
# Source, relay and sink share this machine. With Debian's smtp-source and smtp-sink, which nobody
# here wrote, and with baton-load, whose sink offers CHUNKING; with one shard and with two. Messages
# of 4 KiB to one recipient over 50 connections, each synced before its 250. A run is over when
# everything was relayed.
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
    case $1 in
    postfix)
        smtp-source -d -s 50 -l 4096 -m "$messages" -M client.test -f a@x.test -t b@y.test "$relay"
        ;;
    baton-load)
        "$bin/baton-load" send --to "$relay" --messages "$messages" --sessions 50 --size 4096 \
            --pipelining >"$work/send"
        ;;
    esac
    until_relayed "$messages"
}
export -f flow
export bin messages relay admin work

measure() {
    local tools=$1 shards=$2 syncs line
    case $tools in
    postfix) start_other_sink ;;
    baton-load) start_sink 127.0.0.1:0 ;;
    esac
    rm -rf "$work/data" "$work/events.jsonl"
    route_to_sink | configure
    start_baton
    export relay admin baton
    syncs=$(metric baton_wal_syncs_total)
    line=$("$bin/baton-load" cpu --pid "$baton" --messages "$messages" -- bash -c "flow $tools")
    line=$(grep '^cpu: ' <<<"$line")
    syncs=$(($(metric baton_wal_syncs_total) - syncs))
    # shellcheck disable=SC2086  # words of `name=value`
    printf '%s\n' $line | awk -F= -v tools="$tools" -v shards="$shards" -v messages="$messages" \
        -v syncs="$syncs" '{ value[$1] = $2 } END {
            printf "%-11s %6d %9d %10.0f %9.1f %10.3f %12.2f\n", tools, shards, messages,
                messages / value["seconds"], value["cpu_us"] / messages, syncs / messages,
                value["voluntary_switches"] / messages
        }'
    stop_all
}

machine
printf '%-11s %6s %9s %10s %9s %10s %12s\n' \
    tools shards messages messages/s cpu_us/m syncs/m switches/m
for tools in postfix baton-load; do
    for shards in 1 2; do
        [ "$shards" -le "$(nproc)" ] && measure "$tools" "$shards"
    done
done
