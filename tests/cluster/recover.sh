#!/usr/bin/env bash
# recover.sh - three nodes, two lost: the survivor goes on, in another
# generation, once the operator accepts the loss. A lost one that comes back
# with its old folder is retired, and made anew. FULL=1: one that was removed is
# refused, and fresh nodes get everything.
. "$(dirname "$0")/lib.sh"
PARTITIONS=16

begin 5
cluster 3 --partitions $PARTITIONS
eddy put before "$EDDYD" --segment 64K -q || { not_ok "put"; exit 1; }
seq 100000 >numbers
for i in 1 2 3; do
    eddy put "many/$i" numbers --segment 16K -q || { not_ok "put $i"; exit 1; }
done
are_there() { # byte for byte
    local i
    eddy get before | cmp - "$EDDYD" || return 1
    for i in 1 2 3; do
        eddy get "many/$i" | cmp - numbers || return 1
    done
}
retired() { grep -c 'is of another life' "$W/n$1.log"; }

refused "nothing is lost while all are up: there is nothing to recover" 3 \
    'goes on by itself' eddy ring recover 3 --accept-data-loss --yes

# ---- two are lost ------------------------------------------------------------

kill_nodes 2 3
cp -a n2 n2.old
rm -rf n2
is_shown() { # once n1 leads nothing any more
    test "$(eddy ring recover --dry-run |
        grep -c ' from n1 .* newest commit told .* voters ')" = \
        $((PARTITIONS + 1))
}
check "a dry run shows what is kept of each group, and by whom" \
    within 10 is_shown
refused "without --accept-data-loss nothing is done" 3 'accept-data-loss' \
    eddy ring recover --yes -q
begun=$(now_ms)
recover() { eddy ring recover --accept-data-loss --yes; }
check "the operator accepts the loss" within 30 recover
say "recovered $(($(now_ms) - begun)) ms after being asked first"
check "all bytes are there" are_there
check "once is enough" eddy ring recover --accept-data-loss --yes

# ---- one comes back with its old folder --------------------------------------

run 3
remove() { eddy ring remove n2 --accept-data-loss --yes; }
check "n2 is removed" within 20 remove
check "n3 is back, and made anew from n1" within 20 is_whole 2 1 3
check "$(retired 3) replicas of its former life are retired" \
    test "$(retired 3)" = $((PARTITIONS + 1))
check "put goes on" eddy put after numbers -q
check "all bytes are there still" are_there
[ -n "${FULL:-}" ] || finish

# ---- fresh ones --------------------------------------------------------------

enter 4
enter 5
run 4
run 5
check "two fresh nodes: all is 3-fold again" within 30 is_whole 3 1 3 4 5
check "all bytes are there still" are_there
kill_nodes 1
check "and without the survivor" within 20 are_there
check "with what came after" within 10 cmp numbers <(eddy get after)
run 1
mv n2.old n2
run 2
exit_of 2 30
check "n2's old folder is refused (exit 79)" test $? = 79
finish
