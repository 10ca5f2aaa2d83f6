#!/usr/bin/env bash
# long_roll.sh - all nodes of a ring are restarted, one after the other, while
# clients append: how long their appends take meanwhile.
# alone: it measures
. "$(dirname "$0")/lib.sh"
STREAMS=32
PACE_MS=10              # between an answer and the next append of a stream
P99_MS=$((500 * SLOW))   # of the appends during the restarts
WORST_MS=$((900 * SLOW)) # of any append: less than a client would take that
                         # waits for who has gone
BUSY_P99_MS=40           # at rest: the machine has so much else to do that no
BUSY_MS=10000            # more is asked than this

begin 5

# The longest that any stream has gone without an acknowledgement, in ms: an
# append that never came back is seen here.
longest_pause() {
    local f
    for f in probes/put.*; do
        awk -v since="$1" -v until="$2" '
            $1 < since { last = since }
            $1 >= since && $1 < until {
                if (last && $1 - last > worst) worst = $1 - last
                last = $1
            }
            END { if (until - last > worst) worst = until - last
                  printf "%d\n", worst / 1000 }' "$f"
    done | sort -n | tail -n 1
}

all_begun() { # every stream has its producer
    [ "$(find probes -name 'put.*' -size +0 | wc -l)" = $STREAMS ]
}

# rolling N: the restarts of a ring of N.
rolling() {
    local n=$1 i nodes since until calm
    cluster "$n"
    nodes=$(IFS=, && echo "${CLIENT[*]:1:n}")
    rm -rf probes && mkdir probes
    "$RECORDER" create "$ADMIN" "$nodes" $STREAMS >streams.out
    "$RECORDER" probe "$ADMIN" "$nodes" $STREAMS probes put $PACE_MS \
        2>>probe.log &
    local putter=$!
    OTHERS+=("$putter")
    within 30 all_begun || not_ok "not all streams are appended to"
    calm=${EPOCHREALTIME/./}
    sleep 3
    since=${EPOCHREALTIME/./}
    for ((i = 1; i <= n; i++)); do
        local begun
        begun=$(now_ms)
        stop_node "$i" || not_ok "n$i does not stop: $?"
        local stopped=$(($(now_ms) - begun))
        run "$i"
        check "n$i of $n is back and leads again" \
            eddy ring wait --timeout $((30 * SLOW))s -q
        say "n$i of $n: stopped in $stopped ms, settled after $(($(now_ms) - begun)) ms"
    done
    until=${EPOCHREALTIME/./}
    kill -TERM $putter
    wait $putter
    read -r count median p99 worst < <(cat probes/put.* | took "$calm" "$since")
    say "$n nodes, $STREAMS streams, at rest: $count appends, median $median ms, p99 $p99 ms, longest $worst ms"
    local limit=$P99_MS worst_limit=$WORST_MS
    if [ "$count" -lt 100 ] || [ "${p99%.*}" -gt $BUSY_P99_MS ]; then
        say "the machine is too busy to measure anything"
        limit=$BUSY_MS worst_limit=$BUSY_MS
    fi
    read -r count median p99 worst < <(cat probes/put.* | took "$since" "$until")
    check "$n nodes: p99 of $count appends during the restarts is $p99 ms (median $median, longest $worst)" \
        awk "BEGIN { exit !($count > 100 && $p99 <= $limit && $worst <= $worst_limit) }"
    local pause
    pause=$(longest_pause "$since" "$until")
    check "no stream waits for longer than $pause ms" test "$pause" -le "$worst_limit"
    check "no append fails" test ! -s probe.log
    for ((i = 1; i <= n; i++)); do
        stop_node "$i"
        rm -rf "$W/n$i"
    done
}

rolling 3
rolling 5
finish
