#!/usr/bin/env bash
# admin.sh - an operator changes the ring: one of four nodes is drained under
# load and has left; what would break a quorum is refused; a dead node is
# replaced by a new one; N, weights and zones change on line.
. "$(dirname "$0")/lib.sh"
STREAMS=16
PARTITIONS=64

begin 5
cluster 4 --partitions $PARTITIONS
make_streams $STREAMS 1 3 4
head -c 9000000 /dev/urandom >data
check "put before the drain" eddy put before data --segment 64K -q

is_same() { eddy get "$1" -q -o copy && cmp -s copy data; }
epoch() { eddy ring status --json | sed 's/.*"epoch":\([0-9]*\).*/\1/'; }
members() { eddy ring members --json | grep -o '"name":"[^"]*"' | wc -l; }
field() { grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d: -f2; }

# ---- plans -------------------------------------------------------------------

eddy ring plan --drain n2 --json >plan.out
check "a plan says what it costs" test "$(field copies_to_make <plan.out)" -ge 48
check "... and that no copy is missed on the way" \
    test "$(field live_copies_least <plan.out)" = 3
staged=$(field epoch <plan.out)
check "nothing of it is done" is_healthy 3 1 2 3 4
refused "a drain beside it" 6 "something else is staged" \
    eddy ring drain n3 --yes
refused "a commit of another epoch" 6 "look at the plan again" \
    eddy ring commit $((staged - 1))
check "the plan is dropped" eddy ring plan --clear
eddy ring plan --remove n2 --json >plan.out
refused "a member that has copies goes at once only if data may be lost" 3 \
    "accept the loss of data" \
    eddy ring commit "$(field epoch <plan.out)" --force
check "... which says so in the plan, with its epoch, on stdout" \
    grep -qx "epoch $(field epoch <plan.out), staged: now -> after" \
    <(eddy ring plan -q)
check "... and is dropped" eddy ring plan --clear
refused "an option that drain has not" 2 "no option --weight" \
    eddy ring drain n2 --weight n1=3 --yes
refused "half a question" 2 "why what" eddy ring why node
refused "a wait without rights ends at once" 8 "no right" \
    timeout 5 "$EDDY" ring wait --key "$JOIN" --node "${CLIENT[1]}"
refused "a commit of nothing" 6 "nothing is staged|at epoch" \
    eddy ring commit "$staged"
refused "scripts must say --yes" 2 "say --yes" eddy ring drain n2
refused "a member that is none" 7 "no member" eddy ring drain n9 --yes
refused "a join key changes nothing" 8 "no right" \
    "$EDDY" ring set out-after=5m --key "$JOIN" --node "${CLIENT[1]}"

eddy ring set replication=2 --dry-run --json >plan.out
check "N going down is shown with the copies that are left" \
    test "$(field live_copies_least <plan.out)" = 2

# ---- on a terminal -----------------------------------------------------------

# typed WORD COMMAND...: eddy on a terminal, where WORD is typed a second later
typed() {
    local word=$1
    shift
    { sleep 1 && echo "$word"; } |
        script -qec "'$EDDY' $* --key '$ADMIN'" /dev/null >typed.out 2>&1
}
if command -v script >/dev/null; then
    typed yes ring drain n2
    check "another word than the name does nothing" \
        test "$? $(grep -c 'type n2 to do it\|nothing was done' typed.out)" = "1 2"
    eddy ring plan --set out-after=14m --json >plan.out
    staged=$(field epoch <plan.out)
    typed no ring commit "$staged"
    check "... nor to a commit, which shows the plan" \
        test "$? $(grep -c 'out after 15m00s -> 14m00s' typed.out)" = "1 1"
    check "its epoch, typed, does it" typed "$staged" ring commit "$staged"
    check "it is done" grep -q '"out_after_seconds":840' \
        <(eddy ring status --json)
fi

# ---- a drain under load ------------------------------------------------------

start_load
within 30 has_acks 200 || not_ok "no load"
begun=$(now_ms)
check "n2 is drained" eddy ring drain n2 --yes -q
check "until it has left" eddy ring wait --timeout 90s
took=$(($(now_ms) - begun))
exit_of 2 30
check "its eddyd ends with 79 (after $took ms)" test $? = 79
before=$(acks)
within 20 has_acks $((before + 200)) || not_ok "the load does not go on"
stop_load
verify "all that was acknowledged meanwhile"
check "three nodes keep everything" is_whole 3 1 3 4
check "three members" test "$(members)" = 3
check "byte for byte" is_same before
run 2
exit_of 2 10
check "its folder is of no use any more" test $? = 78

# ---- what would break a quorum -----------------------------------------------

refused "draining one of three" 3 "1 more must join" eddy ring drain n3 --yes
refused "... as JSON" 3 '"code":"REFUSED"' eddy ring drain n3 --yes --json
refused "removing one of three" 3 "1 more must join" eddy ring remove n3 --yes
refused "N by two at once" 3 "one at a time" \
    eddy ring set replication=1 --yes
check "nothing was changed" is_whole 3 1 3 4

# ---- dead, and replaced ------------------------------------------------------

start_load
kill_nodes 4
eddy ring drain n4 --dry-run --json >plan.out 2>&1
check "right after a death the copies of the others count as live" \
    test "$(field live_copies_least <plan.out)" = 2
enter 5
run 5
within 20 is_ready 5 || not_ok "n5 is not ready"
within 20 eddy ring why node n5 || not_ok "n5 is not known"
check "n5 takes the place of n4, which is dead" \
    eddy ring replace n4 n5 --yes -q
check "until n4 has left" eddy ring wait --timeout 90s
stop_load
verify "all that was acknowledged meanwhile"
check "three nodes keep everything again" is_whole 3 1 3 5
check "byte for byte again" is_same before
run 4
exit_of 4 30
check "n4, which comes back, is told that it has left" test $? = 79

# ---- settings ----------------------------------------------------------------

check "N goes down to two" eddy ring set replication=2 --yes -q
check "... everywhere" eddy ring wait --timeout 60s
check "two copies of everything" is_whole 2 1 3 5
check "N goes up to three again" eddy ring set replication=3 --yes -q
check "... everywhere" eddy ring wait --timeout 60s
check "three copies of everything" is_whole 3 1 3 5
eddy ring plan --weight n1=300 --zone n1=a,n3=b,n5=b --json >plan.out
check "weights and zones are staged" \
    eddy ring commit "$(field epoch <plan.out)"
check "... and settle" eddy ring wait --timeout 60s
check "byte for byte at last" is_same before
check "nothing waits" grep -qx "nothing waits" <(eddy ring why)

finish
