#!/bin/bash
# Starts a sink and the relay on free loopback ports, sends three messages through, and prints what
# happened: demo.sh FOLDER-OF-BINARIES. Everything lives in a temporary folder and ends with it.
set -eu
bin=$1
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap finish EXIT

# The first line of FILE that matches PATTERN, once it is there; at most ten seconds.
await() {
    for _ in $(seq 100); do
        sed -n "s/$1/\1/p" "$2" | head -1 | grep . && return 0
        sleep 0.1
    done
    echo "the demo did not get as far as '$1':" >&2
    cat "$2" >&2
    return 1
}

"$bin/baton-load" sink --listen 127.0.0.1:0 --dump "$work/delivered" >"$work/sink.out" 2>&1 &
pids+=($!)
sink=$(await '^listening \(.*\)' "$work/sink.out")

cat >"$work/baton.toml" <<CONFIG
hostname = "relay.example.net"
data_dir = "$work/data"
shards = 1

[[listener]]
address = "127.0.0.1:0"

[[peer]]
network = "127.0.0.0/8"
account = "local"

[[route]]
domain = "*.test"
via = ["$sink"]

[admin]
address = "127.0.0.1:0"

[log]
path = "$work/events.jsonl"
CONFIG

"$bin/baton" run --config "$work/baton.toml" >"$work/baton.out" 2>&1 &
pids+=($!)
relay=$(await '^listening \(.*\)' "$work/baton.out")

echo "relay on $relay, sink on $sink; sending three messages"
"$bin/baton-load" send --to "$relay" --messages 3 --sessions 1 --size 600 --domains 3 \
    --domain-suffix x.test | tail -1
delivered() { grep -c '"recipient-delivered"' "$work/events.jsonl" || true; }
for _ in $(seq 100); do
    [ "$(delivered)" = 3 ] && break
    sleep 0.1
done

echo
echo "what the relay logged:"
grep -E '"(message-accepted|recipient-[a-z]+)"' "$work/events.jsonl"
echo
echo "one of the messages as it arrived:"
cat "$work/delivered/$(ls "$work/delivered" | grep eml | head -1)"
[ "$(delivered)" = 3 ] || { echo "not all three were delivered" >&2; exit 1; }
