#!/usr/bin/env bash
# kill.sh - kill -9 under load: nothing acknowledged is lost, nothing is there
# twice.
#
# Eight writers append to 64 streams. Rounds of two sorts, on the same folders:
# all three nodes killed at once (in every second one the writers die too, in
# the others they live on and repeat what was unanswered), and one node killed
# while the others go on. Then clients of `eddy put --producer` are killed and
# repeated until they say that they are done. Logs are cut all the while.
. "$(dirname "$0")/lib.sh"
ROUNDS_ALL=${ROUNDS_ALL:-$((10 / SLOW))}
ROUNDS_ONE=${ROUNDS_ONE:-3}
PUTS=${PUTS:-4}
ACKS_MIN=2000 # before each kill
STREAMS=64 PARTITIONS_MIN=48
export EDDYD_LOG_KEEP=${EDDYD_LOG_KEEP:-64}

begin 3
cluster 3
make_streams $STREAMS 1 2 3
partitions=$(awk '{ print $2 }' streams.out | sort -u | wc -l)
check "$STREAMS streams in $partitions partitions, at least $PARTITIONS_MIN" \
    test "$partitions" -ge $PARTITIONS_MIN

# The load goes on until so many more are acknowledged.
load_more() {
    [ -n "$LOADER" ] || start_load
    within 30 has_acks $(($(acks) + ACKS_MIN)) && sleep 0.5
}

# ---- all three ---------------------------------------------------------------

begun=$(now_ms)
for ((round = 1; round <= ROUNDS_ALL; round++)); do
    load_more || { not_ok "round $round: not $ACKS_MIN acknowledged in 30 s"; finish; }
    kill_nodes 1 2 3
    [ $((round % 2)) = 0 ] && stop_load -KILL
    sleep 0.2 # what was answered before is written down
    before=$(acks)
    restarted=$(now_ms)
    for i in 1 2 3; do
        run $i
    done
    if [ -n "$LOADER" ]; then
        # Who lives on must come through: more is acknowledged.
        within 30 has_acks $((before + 100)) ||
            not_ok "round $round: the writers do not go on in 30 s"
        after=", writers went on after $(($(now_ms) - restarted)) ms"
        stop_load -TERM
    else
        after=', writers killed too'
    fi
    verify "round $round, all killed after $before acknowledgements$after"
done
say "$ROUNDS_ALL rounds of all nodes: $((($(now_ms) - begun) / 1000)) s"

# ---- one ---------------------------------------------------------------------

within 20 is_healthy 3 1 2 3 || not_ok "not healthy after the rounds"
begun=$(now_ms)
for ((round = 1; round <= ROUNDS_ONE; round++)); do
    i=$((round % 3 + 1))
    load_more || { not_ok "round $round: not $ACKS_MIN acknowledged in 30 s"; finish; }
    before=$(acks)
    kill_nodes $i
    within 20 has_acks $((before + ACKS_MIN)) ||
        not_ok "round $round: without n$i nothing goes on"
    run $i
    sleep 1
    stop_load -TERM
    verify "round $round, n$i killed after $before acknowledgements, $(acks) in the end"
    check "healthy again with n$i" within 20 is_healthy 3 1 2 3
done
say "$ROUNDS_ONE rounds of one node: $((($(now_ms) - begun) / 1000)) s"

# ---- would it be noticed? ----------------------------------------------------

# The recorder's own test, on a copy of its files and a stream of its own.
finds() { # finds NAME PATTERN
    local words
    words=$("$RECORDER" verify "$ADMIN" "$NODES" $STREAMS faked 2>faked.err) &&
        words+=" (exit 0)"
    check "the verifier finds $1" grep -qE "$2" <<<"$words"
}
cp -r acks faked
echo "0 9999999 1 0" >>faked/acks.0
finds "a segment that is not there" ': 1 lost.*exchanged, 0 twice'
cp -r acks/. faked
sed -Ei '1s/^(([0-9]+ ){3})[0-9]+/\112345/' faked/acks.1
finds "another one in its place" ' 1 exchanged'
cp -r acks/. faked
eddy get rec/0 0 -q -o again.bin
eddy put rec/0 again.bin -q --segment 1M >/dev/null
finds "one that is there twice" ' 1 twice'

# ---- clients -----------------------------------------------------------------

begun=$(now_ms)
kills=0
head -c 32000000 /dev/urandom >input
for ((k = 1; k <= PUTS; k++)); do
    killed=0
    tries=0
    while :; do
        "$EDDY" put put/$k input --producer upload --segment 1K \
            --key "$ADMIN" -q >put.out 2>>put.log &
        pid=$!
        OTHERS+=("$pid")
        tries=$((tries + 1))
        # The second and fourth input meet the death of a node, too.
        [ $((k % 2)).$tries = 0.2 ] && kill_nodes 3 && run 3
        if [ $killed -lt 4 ]; then
            sleep 0.$((RANDOM % 3))$((RANDOM % 10))
            kill -9 $pid 2>/dev/null && killed=$((killed + 1))
        fi
        wait $pid 2>/dev/null
        status=$?
        [ $status != 0 ] && [ $tries -lt 20 ] || break
    done
    kills=$((kills + killed))
    if [ $status != 0 ]; then
        not_ok "put --producer: exit $status in the end: $(tail -n 1 put.log)"
    elif eddy get put/$k -q -o output && cmp input output; then
        ok "put --producer killed $killed times, repeated until exit 0: the input exactly once"
    else
        not_ok "put --producer killed $killed times: $(stat -c %s output) bytes are there, not $(stat -c %s input), or others"
    fi
done
check "puts were killed $kills times in all, twice each at least" \
    test $kills -ge $((2 * PUTS))
say "$PUTS puts: $((($(now_ms) - begun) / 1000)) s"
finish
