#!/bin/bash
# What many destination domains cost: messages a second, CPU and DNS queries a message, with 1, 1,000
# and 20,000 domains, and the ratio to the single domain.
#
#   benches/domains.sh [--static] [--messages N] [BIN]
#
#   --static      one route for all, no DNS: what the queues of the domains alone cost
#   --messages N  of one run (60,000)
#   BIN           folder of baton and baton-load (target/release)
#
# Mail goes by MX, to as many sites (sets of MX hosts) as the column says, which share the domains;
# all hosts are 127.0.0.1. Each run starts with an empty queue and an empty DNS cache, so with 20,000
# domains every third message asks for the first time. The last row has 2,000 sites: hardly a message
# finds a connection open. Messages of 4 KiB to one recipient over 50 connections, each synced before
# its 250; source, relay, sink and DNS server share this machine. A run is over when everything was
# relayed. All rows run in turn, twice, and are printed side by side: compare within a round.
# Everything it makes is in a folder of its own, gone at the end.
set -euo pipefail

bin=target/release
messages=60000
routing=dns
while [ $# -gt 0 ]; do
    case $1 in
    --messages) messages=$2; shift ;;
    --static) routing=static ;;
    -*) echo "unknown option $1" >&2; exit 2 ;;
    *) bin=$1 ;;
    esac
    shift
done
# shellcheck source=benches/rig.sh
. "$(dirname "$0")/rig.sh"
need curl curl

# DOMAINS:SITES, with the single domain first in its group.
case $routing in
dns) runs=(1:20 1000:20 20000:20 1:200 1000:200 20000:200 20000:2000) ;;
static) runs=(1:1 1000:1 20000:1) ;;
esac

# Sends everything and waits until it was relayed; what `baton-load cpu` measures.
flow() {
    set -e
    "$bin/baton-load" send --to "$relay" --messages "$messages" --sessions 50 --size 4096 \
        --domains "$1" --pipelining >"$work/send"
    until_relayed "$messages"
}
export -f flow
export bin messages work

# measure ROUND DOMAINS SITES: adds a line to $work/results
measure() {
    local line asked=0
    start_sink 127.0.0.1:0
    rm -rf "$work/data" "$work/events.jsonl"
    case $routing in
    dns)
        start_dns --sites "$3"
        route_by_dns | configure
        ;;
    static) route_to_sink | configure ;;
    esac
    start_baton
    export relay admin baton
    line=$("$bin/baton-load" cpu --pid "$baton" --messages "$messages" -- bash -c "flow $2")
    line=$(grep '^cpu: ' <<<"$line")
    if [ $routing = dns ]; then
        stop "$dns_pid"
        asked=$(grep -o '^dns: queries=[0-9]*' "$work/dns" | cut -d= -f2)
    fi
    # shellcheck disable=SC2086  # words of `name=value`
    printf '%s\n' $line | awk -F= -v place="$1 $2 $3" -v messages="$messages" -v asked="$asked" '
        { value[$1] = $2 }
        END { print place, messages / value["seconds"], value["cpu_us"] / messages, asked / messages }
    ' >>"$work/results"
    stop_all
}

machine
for round in 1 2; do
    for run in "${runs[@]}"; do
        measure "$round" "${run%:*}" "${run#*:}"
    done
done

printf '%-8s %6s %21s %21s %17s %21s\n' \
    domains sites 'messages/s, 2 rounds' 'cpu_us/m, 2 rounds' 'queries/m' 'cpu_us, to 1 domain'
awk '
    { place = $2 " " $3; rate[$1, place] = $4; cpu[$1, place] = $5; asked[$1, place] = $6 }
    # The single domain of the same sites, or the one before where there is none.
    $2 == 1 { single = place }
    $1 == 1 { order[++count] = place; base[place] = single }
    END {
        for (n = 1; n <= count; n++) {
            place = order[n]
            split(place, names, " ")
            printf "%-8d %6d %10.0f %10.0f %10.1f %10.1f %8.3f %8.3f %9.2fx %9.2fx\n", names[1],
                names[2], rate[1, place], rate[2, place], cpu[1, place], cpu[2, place],
                asked[1, place], asked[2, place],
                cpu[1, place] / cpu[1, base[place]], cpu[2, place] / cpu[2, base[place]]
        }
    }
' "$work/results"
