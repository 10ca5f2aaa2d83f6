#!/usr/bin/env bash
# moved.sh - nodes are started again at other addresses: the ring record follows
# them, and peers and clients find them there.
. "$(dirname "$0")/lib.sh"
FOLLOW_SECONDS=25 # a record at most every 10 s

begin 6 # three nodes, and where each goes
cluster 3
head -c 2000000 /dev/urandom >data
check "put" eddy put moved/data data --segment 64K -q

# move I J: node I goes to where node J would be.
move() {
    sed -i "s|^listen = .*|listen = ${CLIENT[$2]}|" "n$1/eddy.conf"
    grep -q "^listen = ${CLIENT[$2]}\$" "n$1/eddy.conf" || not_ok "eddy.conf"
    CLIENT[$1]=${CLIENT[$2]} PEER[$1]=${PEER[$2]}
}
addresses() { # as the ring says, of n1, n2, n3
    eddy ring members --json | grep -oE '"(name|address|peer_address)":"[^"]*"' |
        cut -d'"' -f4 | paste - - - | sort | cut -f2,3 | tr '\t\n' '  '
}
wanted() {
    local i
    for i in 1 2 3; do
        printf '%s %s ' "${CLIENT[i]}" "${PEER[i]}"
    done
}
is_followed() { [ "$(addresses)" = "$(wanted)" ]; }
# As one who knows node I's new address and nothing else.
knows_only() { "$EDDY" "${@:2}" --key "$ADMIN" --node "${CLIENT[$1]}"; }

move_and_check() { # move_and_check I J
    stop_node "$1"
    move "$1" "$2"
    run "$1"
    local begun
    begun=$(now_ms)
    check "n$1 is ready at its new address" within 10 is_ready "$1"
    check "its replicas follow there" within 10 is_whole 3 1 2 3
    check "the ring record says where n$1 is now" \
        within $FOLLOW_SECONDS is_followed
    say "n$1: $(($(now_ms) - begun)) ms after its start"
    check "ring wait" eddy ring wait --timeout $((30 * SLOW))s -q
    check "a client that knows n$1 alone gets all" \
        cmp data <(knows_only "$1" get moved/data)
    check "and puts" knows_only "$1" put "moved/by$1" data --segment 64K -q
}

move_and_check 3 6
# Who leads the ring's own group tells itself.
leader=$(eddy ring table | awk '$1 == "ring" { print $3 }')
say "$leader leads the ring"
move_and_check "${leader#n}" 4
check "all bytes are there" cmp data <(eddy get moved/data)

# Who was away meanwhile finds them by the record or by who has moved.
left=2
[ "$leader" != n2 ] || left=1
kill_nodes $left
run $left
check "a node that starts now finds them" within 10 is_whole 3 1 2 3
finish
