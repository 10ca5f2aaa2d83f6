#!/usr/bin/env bash
# transfer.sh - a node joins a ring that has more than comes by log: what it
# gets, it gets by transfer, while appends and reads go on. All of it is there,
# byte for byte, once the nodes that had it before are down.
. "$(dirname "$0")/lib.sh"
SIZE=96 # MiB, in so many streams:
STREAMS=8
JOIN_SECONDS=$((120 * SLOW))
BOUND=$((128 * SLOW)) # MiB of memory

input() { seq -f '%015g' 100000000 | head -c "${SIZE}M"; }
rss_mib() {
    echo $(($(sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/${PID[$1]}/status") / 1024))
}
# Replicas that came by transfer, as the node's log says.
installed() { grep -c 'is installed at entry' "$W/n$1.log"; }

begin 4
free=$(df -m --output=avail "$W" | tail -n 1)
[ "$free" -gt $((SIZE * 6 + 1024)) ] ||
    { not_ok "only $free MiB are free in $W, $((SIZE * 6 + 1024)) are needed"; finish; }
found --partitions 16
run 1
check "the first node is ready" within 10 is_ready 1
enter 2
enter 3
run 2
run 3
check "three nodes are healthy" eddy ring wait --timeout 30s
input >data
for i in $(seq $STREAMS); do
    check "put of part $i" eddy put "big/$i" - --segment 64K -q \
        < <(tail -c +$(((i - 1) * SIZE / STREAMS * 1048576 + 1)) data |
            head -c $((SIZE / STREAMS * 1048576)))
done

# At a rate at which it lasts; then at one at which it does not.
check "repair.rate is set" eddy ring set repair.rate=1M
enter 4
begun=$(now_ms)
run 4
: >written
while [ ! -e stop ]; do # appends go on meanwhile
    printf 'line %s\n' "$(now_ms)" >line
    eddy put live line -q >/dev/null && cat line >>written
done &
OTHERS+=("$!")
WRITER=$!
is_shown() {
    eddy ring status | grep -Eq \
        '^transfer [0-9]+ to n4 from n[123] segments [0-9.]+[KM] of [0-9.]+M .*/s left [0-9]'
}
check "status shows a transfer" within $((30 * SLOW)) is_shown
check "why says how far it is" \
    grep -q 'n4 is being installed: [0-9]* % of about' <(eddy ring why)

check "repair.rate is raised" eddy ring set repair.rate=1G
has_share() { [ "$(installed 4)" -gt 0 ] && eddy ring wait --timeout 30s; }
check "a fourth node has its share" within $JOIN_SECONDS has_share
took=$(($(now_ms) - begun))
touch stop
wait $WRITER
count=$(installed 4)
check "$count replicas came by transfer, $took ms after the run" test "$count" -gt 0
most=0
for i in 1 2 3 4; do
    mib=$(rss_mib $i)
    [ "$mib" -le $most ] || most=$mib
done
check "no node has more than $most MiB of memory, bound $BOUND" test $most -lt $BOUND
check "what was appended meanwhile is there" cmp written <(eddy get live)
all() { for i in $(seq $STREAMS); do eddy get "big/$i"; done; }
check "the same bytes" cmp data <(all)
kill_nodes 1
check "the same bytes without the first node" within 30 cmp data <(all)
run 1
# Whoever was dead leads again after a minute in touch.
check "healthy again" eddy ring wait --timeout $((90 * SLOW))s
kill_nodes 2
check "the same bytes without the second" within 30 cmp data <(all)
finish
