#!/usr/bin/env bash
# long_nine.sh - nine nodes on one machine: they form, keep a file, lose one; and
# what they cost while nobody asks anything of them.
# alone: it measures
. "$(dirname "$0")/lib.sh"
NODES=9
WAIT_SECONDS=90
IDLE_SECONDS=5
IDLE_PERCENT=$((10 * SLOW)) # of a core, each node
MEMORY_MIB=$((96 * SLOW))   # RssAnon, each node
FILES_MAX=256               # descriptors, each node

begin $NODES
begun=$(now_ms)
found
run 1
within 10 is_ready 1 || not_ok "n1 is not ready"
for ((i = 2; i <= NODES; i++)); do
    enter $i
    run $i
done
check "nine nodes settle" eddy ring wait --timeout $((WAIT_SECONDS * SLOW))s
say "settled $(($(now_ms) - begun)) ms after init"
# shellcheck disable=SC2046
check "each leads its share of three whole copies" is_healthy 3 $(seq $NODES)

head -c 8000000 /dev/urandom >data
check "put" eddy put nine/data data --segment 64K -q
check "get gives the same bytes" cmp data <(eddy get nine/data)

# ---- what they cost ----------------------------------------------------------

# cpu_ticks I: user and system time of node I, in ticks (1/100 s).
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/${PID[$1]}/stat"; }
anon_mib() { awk '/RssAnon/ { print int($2 / 1024) }' "/proc/${PID[$1]}/status"; }
files_of() { find "/proc/${PID[$1]}/fd" -mindepth 1 | wc -l; }
largest() { sort -n | tail -n 1; }
each_node() { # each_node COMMAND: of every node, a line
    local i
    for ((i = 1; i <= NODES; i++)); do
        "$1" $i
    done
}

sleep 1 # what the put has left to store
each_node cpu_ticks >before
sleep $IDLE_SECONDS
each_node cpu_ticks >after
idle=$(paste before after | awk -v s=$IDLE_SECONDS '{ print ($2 - $1) / s }' |
    largest)
check "an idle node takes $idle % of a core at most" \
    awk "BEGIN { exit !($idle <= $IDLE_PERCENT) }"
most=$(each_node anon_mib | largest)
check "$most MiB of memory" test "$most" -le $MEMORY_MIB
most=$(each_node files_of | largest)
check "$most descriptors" test "$most" -le $FILES_MAX

# ---- one dies ----------------------------------------------------------------

kill_nodes 5
begun=$(now_ms)
check "get is whole without n5" cmp data <(eddy get nine/data)
say "it took $(($(now_ms) - begun)) ms"
check "put goes on" eddy put nine/more data --segment 64K -q
check "ring status names n5" grep -q '^NODE_DOWN 1 .*n5' <(eddy ring status)
run 5
check "n5 is back, all is whole" within 20 is_whole 3 1 2 3 4 5 6 7 8 9
check "get" cmp data <(eddy get nine/more)
finish
