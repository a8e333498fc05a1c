#!/bin/bash
# Starts a sink and the relay on free loopback ports, sends three messages through, and prints what
# happened: demo.sh FOLDER-OF-BINARIES. Everything lives in a temporary folder and ends with it.
set -euo pipefail
bin=$1
# shellcheck source=benches/rig.sh
. "$(dirname "$0")/../benches/rig.sh"

shards=1
start_sink 127.0.0.1:0 --dump "$work/delivered"
route_to_sink | configure
start_baton

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
