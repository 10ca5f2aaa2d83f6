#!/usr/bin/env bash
# keys.sh - who is let in by which door, and what each key may do.
. "$(dirname "$0")/lib.sh"
COUNT=50 # messages of each sort

begin 4
cluster 3
head -c 300000 /dev/urandom >data
eddy put kept data -q >/dev/null || not_ok "put"
"$DOOR" key "$ADMIN" stranger.key
"$DOOR" key "$ADMIN" other.key other
N1=$(id_of 1)
N2=$(id_of 2)
N3=$(id_of 3)
BOOT2=$(status_of 2 boot)
BOOT3=$(status_of 3 boot)
NODE2=n2/keys/node.key # the member's own key

dropped() { status_of 1 dropped; }
# drops NAME COUNT COMMAND...: how many messages n1 drops and counts for it.
drops() {
    local name=$1 wanted=$2 before after
    shift 2
    before=$(dropped)
    "$@" >drops.out 2>&1
    within 2 eval "[ \$(dropped) -ge $((before + wanted)) ]"
    sleep 0.2 # no more of them
    after=$(dropped)
    check "$name: $((after - before)) dropped and counted, of $COUNT sent" \
        test $((after - before)) = "$wanted"
}

# ---- the client port ---------------------------------------------------------

check "an admin key is answered" test "$N1" = "$("$DOOR" hello "$ADMIN" n1 "${CLIENT[1]}")"
refused "a stranger's key is not answered on the client port" 1 'no answer' \
    "$DOOR" hello stranger.key n1 "${CLIENT[1]}"
refused "nor is a member's on the client port" 1 'no answer' \
    "$DOOR" hello $NODE2 n1 "${CLIENT[1]}"
refused "eddy get with a stranger's key" '4|8' 'key' \
    "$EDDY" get kept --key stranger.key --timeout 2s
refused "eddy put with a stranger's key" '4|8' 'key' \
    "$EDDY" put kept data --key stranger.key --timeout 2s
refused "eddyd join with a stranger's key" 75 'no node answered.*join.key' \
    "$EDDYD" join --data x --to "${CLIENT[1]}" --key stranger.key --listen "${CLIENT[4]}"

refused "the join key may not put" 8 'right|denied' \
    "$EDDY" put kept data --key "$JOIN" --timeout 5s
refused "nor make a stream" 8 'right|denied' \
    "$EDDY" stream create new --key "$JOIN" --timeout 5s
refused "nor get" 8 'right|denied' "$EDDY" get kept --key "$JOIN" --timeout 5s
refused "nor look at the streams" 8 'right|denied' \
    "$EDDY" stream list --key "$JOIN" --timeout 5s
refused "nor at a node's state" 8 'right|denied' \
    "$EDDY" ring status --key "$JOIN" --timeout 5s

drops "nothing happens, nothing is dropped" 0 sleep 1
drops "messages between nodes, on the client port" $COUNT \
    "$DOOR" peer "$ADMIN" n1 "${CLIENT[1]}" "$N2" "$N1" "$BOOT2" $COUNT

# ---- the peer port -----------------------------------------------------------

drops "a member's key, in another process than the one that runs" $COUNT \
    "$DOOR" peer $NODE2 n1 "${PEER[1]}" "$N2" "$N1" "$BOOT2" $COUNT
drops "a member's key with another member's id" $COUNT \
    "$DOOR" peer $NODE2 n1 "${PEER[1]}" "$N3" "$N1" "$BOOT3" $COUNT
drops "a member's key with the id of nobody" $COUNT \
    "$DOOR" peer $NODE2 n1 "${PEER[1]}" "0123456789abcdef0123456789abcdef" "$N1" 1 $COUNT
drops "a message to another node" $COUNT \
    "$DOOR" peer $NODE2 n1 "${PEER[1]}" "$N2" "$N3" "$BOOT2" $COUNT
drops "an admin key is not let in on the peer port" 0 \
    "$DOOR" frame "$ADMIN" n1 "${PEER[1]}" "$N2" "$N1" "$BOOT2" $COUNT
drops "nor is a stranger's" 0 \
    "$DOOR" frame stranger.key n1 "${PEER[1]}" "$N2" "$N1" "$BOOT2" $COUNT
drops "a request on the peer port is not answered" 1 \
    "$DOOR" hello $NODE2 n1 "${PEER[1]}"

# A message without frames counts if its header is refused; one with a bad
# frame counts once it is let in: so each tells of the other.
stop_node 2
drops "a member's key with its own id and next boot is let in" 0 \
    "$DOOR" peer $NODE2 n1 "${PEER[1]}" "$N2" "$N1" $((BOOT2 + 1)) $COUNT
drops "and heard, to its bad frames" $COUNT \
    "$DOOR" frame $NODE2 n1 "${PEER[1]}" "$N2" "$N1" $((BOOT2 + 1)) $COUNT

# ---- files -------------------------------------------------------------------

check "secrets are in files that only their owner reads" \
    test -z "$(find n1/keys n2/keys n3/keys -type f -perm /077)"
check "a joined node holds no admin key" test ! -e n2/keys/admin.key
check "no secret is in a log" test -z "$(
    sed -n 's/^secret //p' n?/keys/*.key | sort -u |
        grep -lFf - n?.log n?.out init.out join?.out)"

# ---- an open cluster ---------------------------------------------------------

check "an open cluster must be asked for, and says what it is" \
    grep -q 'whoever reaches a port' <("$EDDYD" init --data n4 --name n4 \
        --insecure --replication 1 --listen "${CLIENT[4]}" 2>&1)
run 4
within 5 is_ready 4 || not_ok "the open node is not ready"
open_eddy() { "$EDDY" "$@" --node "${CLIENT[4]}"; }
check "it takes a put without a key" within 10 open_eddy put open data -q
check "and gives it back" cmp data <(open_eddy get open)
check "ring status shows it" grep -q INSECURE <(open_eddy ring status)
refused "a key of another cluster does not open it" '[1-8]' '.' \
    "$EDDY" get open --key "$ADMIN" --node "${CLIENT[4]}" --timeout 2s

check "all replicas are still good" within 10 is_whole 3 1 2 3
check "get" cmp data <(eddy get kept)
finish
