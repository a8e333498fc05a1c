# What the benches and the demo have in common; sourced, not run. A folder that is gone at the end,
# processes that are ended with it (by their pids, also after a failure or ctrl-C), baton's
# configuration, and waiting for addresses.
#
#   bin      folder of baton and baton-load, set before
#   work     the folder: on a real disk, because baton refuses one that does not sync
#   shards   of baton's configuration
#   log      level of baton's log, which is $work/events.jsonl
# shellcheck shell=bash disable=SC2034  # variables of whoever sources this

work=$(mktemp -d "${TMPDIR:-/var/tmp}/baton-$(basename "$0" .sh).XXXXXX")
shards='"auto"'
log=info
pids=()
trap 'stop_all; rm -rf "$work"' EXIT

# start NAME COMMAND...: in the background, its output in $work/NAME. Its pid is $!.
start() {
    local name=$1
    shift
    # A file that is new: an old one would tell the old address.
    rm -f "$work/$name"
    "$@" >"$work/$name" 2>&1 &
    pids+=($!)
}

# finish PID: waits for its own end; its exit code.
finish() {
    local status=0
    wait "$1" 2>/dev/null || status=$?
    forget "$1"
    return $status
}

# stop PID [SIGNAL]: gone when this returns.
stop() {
    kill "-${2:-TERM}" "$1" 2>/dev/null || true
    finish "$1" || true
}

# The number of a process that has ended may be another's soon.
forget() {
    local pid others=()
    for pid in "${pids[@]}"; do
        [ "$pid" = "$1" ] || others+=("$pid")
    done
    pids=("${others[@]}")
}

stop_all() {
    while [ ${#pids[@]} -gt 0 ]; do
        stop "${pids[0]}" KILL
    done
}

# address NAME WORD PID: what follows WORD at the start of a line of $work/NAME; waits for it as long
# as the process lives.
address() {
    local line
    until line=$(grep -m 1 "^$2 " "$work/$1" 2>/dev/null); do
        kill -0 "$3" 2>/dev/null || { cat "$work/$1" >&2; exit 1; }
        sleep 0.01
    done
    echo "${line#"$2 "}"
}

# start_sink ADDRESS [OPTION...]: sets $sink.
start_sink() {
    start sink "$bin/baton-load" sink --listen "$@"
    sink_pid=$!
    sink=$(address sink listening "$sink_pid")
}

# start_dns [OPTION...]: sets $dns.
start_dns() {
    start dns "$bin/baton-load" dns --listen 127.0.0.1:0 "$@"
    dns_pid=$!
    dns=$(address dns listening "$dns_pid")
}

# Writes baton's configuration: what all have in common, and the tables on standard input.
configure() {
    {
        cat <<END
hostname = "relay.example.net"
data_dir = "$work/data"
shards = $shards
[[listener]]
address = "127.0.0.1:0"
[[peer]]
network = "127.0.0.0/8"
account = "local"
[admin]
address = "127.0.0.1:0"
[log]
path = "$work/events.jsonl"
level = "$log"
END
        cat
    } >"$work/baton.toml"
}

# The tables that send all mail to $sink, whatever its domain. No name server is there to be asked.
route_to_sink() {
    cat <<END
[dns]
servers = ["127.0.0.1:1"]
[[route]]
domain = "*"
via = ["$sink"]
END
}

# Those that have $dns asked where mail goes; MX hosts are then all at the port of $sink. Ends within
# the table [delivery], to which the caller may add.
route_by_dns() {
    cat <<END
[dns]
servers = ["$dns"]
loopback = true
[delivery]
smtp_port = ${sink##*:}
END
}

# Sets $relay and $admin.
start_baton() {
    start baton "$bin/baton" run --config "$work/baton.toml"
    baton=$!
    relay=$(address baton listening "$baton")
    admin=$(address baton admin "$baton")
}

# metric NAME: of the baton that was started last, summed over its labels.
metric() {
    curl -s "http://$admin/metrics" | awk -v name="$1" '
        $1 == name || index($1, name "{") == 1 { sum += $2 }
        END { printf "%d\n", sum }'
}

# until_relayed N: returns when so many recipients have their mail; fails when that cannot be any
# more. Needs `metric`, $admin and $baton, also where it is exported to.
until_relayed() {
    until [ "$(metric baton_recipients_delivered_total)" -ge "$1" ]; do
        kill -0 "$baton" || return 1
        # What was given up never arrives, and what was put off takes minutes.
        [ $(($(metric baton_recipients_bounced_total) + $(metric baton_recipients_deferred_total))) \
            -eq 0 ] || { echo "recipients were bounced or deferred" >&2; return 1; }
        # The counters are looked at seldom, not to be what is measured.
        sleep 0.05
    done
}
export -f until_relayed metric

need() {
    PATH=$PATH:/usr/sbin command -v "$1" >/dev/null || {
        echo "$1 is missing: apt-get install $2" >&2
        exit 1
    }
}

machine() {
    echo "machine: $(nproc) cores, kernel $(uname -r), data on $(df --output=fstype "$work" | tail -1)"
}
