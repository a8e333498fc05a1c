#!/bin/bash
# What a huge backlog costs baton: memory, disk, the time to start with it, to drop one sender's part
# of it, and the rate at which it drains.
#
#   benches/backlog.sh [--large] [--messages N] [--domains N] [--static] [BIN]
#
#   --large       5,000,000 messages to 100,000 domains instead of 1,000,000 to 20,000
#   --messages N  so many messages; --domains N  to so many domains
#   --static      one route for all, instead of MX by DNS (200 sites)
#   BIN           folder of baton and baton-load (target/release)
#
# Messages of 1 KB to one recipient come through SMTP from 100 addresses, which to baton are 100
# senders, while the next hop takes connections and never greets; few connections are allowed, so
# nearly everything is accepted and waits. Then baton starts again beside a next hop that works. The
# kernel's cache keeps what was written, so the start reads a warm disk. baton's log is at level warn,
# since at info its file would be larger than the queue.
# Needs 3 KB of disk a message. Everything it makes is in a folder of its own, gone at the end.
set -euo pipefail

bin=target/release
messages=1000000
domains=20000
routing=dns
while [ $# -gt 0 ]; do
    case $1 in
    --large) messages=5000000 domains=100000 ;;
    --messages) messages=$2; shift ;;
    --domains) domains=$2; shift ;;
    --static) routing=static ;;
    -*) echo "unknown option $1" >&2; exit 2 ;;
    *) bin=$1 ;;
    esac
    shift
done
senders=100
sites=200
drain_s=10
probe_s=5

# shellcheck source=benches/rig.sh
. "$(dirname "$0")/rig.sh"
need curl curl
log=warn
free=$(df --output=avail -B1 "$work" | tail -1)
if [ "$free" -lt $((messages * 3072 + (2 << 30))) ]; then
    echo "not enough disk for $messages messages in $work: TMPDIR may name another" >&2
    exit 1
fi

row() { printf '%-52s %s\n' "$1" "$2"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
# seconds MILLISECONDS
seconds() { awk -v ms="$1" 'BEGIN { printf "%.2f s", ms / 1000 }'; }
# memory NAME: VmRSS or RssAnon of baton, in KiB
memory() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$baton/status"; }
mib() { awk -v kib="$1" 'BEGIN { printf "%.0f MiB", kib / 1024 }'; }
delivered() { metric baton_recipients_delivered_total; }
# field FILE NAME: of the line of JSON that `baton-load send` printed
field() { grep -o "\"$2\":[0-9.]*" "$work/$1" | cut -d: -f2 | sed -n 1p; }

# configuration CONNECTIONS [LINE]: at once to a site; by MX also a line of the table [delivery]
configuration() {
    {
        case $routing in
        dns)
            route_by_dns
            echo "${2:-}"
            ;;
        static) route_to_sink ;;
        esac
        echo "connections_max = $1"
        # A client that does nothing else would be told 421 after a while.
        cat <<END
[limits]
messages_max = 10000000
commands_max = 100000000
END
    } | configure
}

# probe WHEN: mail from another address, and how long it waited for its 250
probe() {
    local run=probe-${1//[^a-z]/-}
    "$bin/baton-load" send --to "$relay" --rate 200 --duration-s $probe_s --sessions 10 --size 1000 \
        --senders 1 --domains "$domains" --run-id "$run" >"$work/$run"
    row "accept latency, $1" \
        "p50 $(field "$run" p50) ms, p99 $(field "$run" p99) ms, max $(field "$run" max) ms"
}

fill() {
    local answered
    row "messages, domains, senders, routing" "$messages, $domains, $senders, $routing"
    row "memtable_bytes, the default" \
        "$("$bin/baton" config explain disk.memtable_bytes | grep -m 1 -o '"[0-9]*[A-Za-z]*"')"
    anonymous=$(memory RssAnon)
    row "memory, empty: VmRSS, RssAnon" "$(mib "$(memory VmRSS)"), $(mib "$anonymous")"
    start fill "$bin/baton-load" send --to "$relay" --messages "$messages" --sessions $senders \
        --from-addresses $senders --senders $senders --domains "$domains" --size 1000 --pipelining
    finish $! || { cat "$work/fill" >&2; exit 1; }
    answered=$(field fill accepted)
    [ "$answered" = "$messages" ] || { tail -1 "$work/fill" >&2; exit 1; }
    row "filled at" "$(field fill messages_per_s) messages/s, p99 $(field fill p99) ms"
}

# weigh WHEN: memory, and what it grew by since baton started with nothing
weigh() {
    local grown=$((($(memory RssAnon) - anonymous) * 1024))
    row "memory, $1: VmRSS, RssAnon" "$(mib "$(memory VmRSS)"), $(mib "$(memory RssAnon)")"
    row "    RssAnon grown by, an entry, a domain" \
        "$((grown >> 20)) MiB, $((grown / messages)) B, $((grown / domains)) B"
}

backlog() {
    local bytes
    # Some are being tried, and the gauge comes with the next look.
    for _ in $(seq 50); do
        [ "$(metric baton_queue_due_entries)" -ge "$messages" ] && break
        sleep 0.1
    done
    row "entries queued" "$(metric baton_queue_due_entries)"
    weigh full
    bytes=$(du -sB1 "$work/data" | cut -f1)
    row "disk, an entry" "$((bytes >> 20)) MiB, $((bytes / messages)) B"
}

# The next hop works now, at the same address, and is there before baton.
restart() {
    local began
    began=$(now_ms)
    stop "$baton"
    row "stopped after (shutdown_grace is 10 s)" "$(seconds $(($(now_ms) - began)))"
    stop "$sink_pid"
    start_sink "$sink" --ledger "$work/ledger"
    # Sessions in all as many as it has by itself: with fewer than lanes that have mail, each message
    # would open a connection.
    configuration 20
    began=$(now_ms)
    start_baton
    row "start: listening after" "$(seconds $(($(now_ms) - began)))"
    until [ -s "$work/ledger" ]; do
        kill -0 "$baton" 2>/dev/null || { cat "$work/baton" >&2; exit 1; }
        [ $(($(now_ms) - began)) -lt 600000 ] || { echo "nothing delivered for 10 min" >&2; exit 1; }
        sleep 0.01
    done
    row "start: first delivery after" "$(seconds $(($(now_ms) - began)))"
    weigh "at the first delivery"
    # What waits is read from disk beside the mail; the gauge is half a second old at most.
    until [ $(($(metric baton_queue_due_entries) + $(delivered))) -ge "$messages" ]; do
        [ $(($(now_ms) - began)) -lt 600000 ] || { echo "not all was found in 10 min" >&2; exit 1; }
        sleep 0.1
    done
    row "start: all that waits is known after" "$(seconds $(($(now_ms) - began)))"
    weigh "started again"
}

drain() {
    local before after
    before=$(delivered)
    sleep $drain_s
    after=$(delivered)
    row "drained at, over $drain_s s" "$(((after - before) / drain_s)) messages/s"
    row "entries left" "$(metric baton_queue_due_entries)"
    weigh draining
}

# While the others' mail flows, and with new mail coming in.
drop() {
    local began probing
    "$bin/baton" queue drop --help >/dev/null 2>&1 || {
        row "one sender's mail dropped" "not in this version"
        return
    }
    # The port that was free is known now, and the command line finds it where the relay did.
    sed '/^\[admin\]/,$ s/^address = .*/address = "'"$admin"'"/' "$work/baton.toml" >"$work/cli.toml"
    probe "draining"
    probe "while a sender is dropped" >"$work/probe" &
    probing=$!
    pids+=("$probing")
    began=$(now_ms)
    "$bin/baton" queue drop --config "$work/cli.toml" --sender 'local|peer|127.0.1.1' >"$work/drop"
    row "one sender's mail dropped after" "$(seconds $(($(now_ms) - began))): $(paste -sd ";" "$work/drop")"
    finish "$probing"
    cat "$work/probe"
}

machine
start_sink 127.0.0.1:0 --stall
[ $routing = static ] || start_dns --sites $sites
configuration 2 'outbound_sessions_max = 20'
start_baton
fill
backlog
restart
drain
drop
