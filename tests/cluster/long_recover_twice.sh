#!/usr/bin/env bash
# long_recover_twice.sh - four nodes, two lost; what they had alone is founded anew
# by the others, of which one is lost before there are other copies. The two
# come back: their former lives are all that is left of some groups, which go on
# from them, and the founder's copies are made anew as it returns.
. "$(dirname "$0")/lib.sh"
PARTITIONS=16

begin 4
cluster 4 --partitions $PARTITIONS
seq 100000 >numbers
for i in 1 2 3 4 5 6 7 8; do
    eddy put "many/$i" numbers --segment 16K -q || { not_ok "put $i"; exit 1; }
done
are_there() { # byte for byte
    local i
    for i in 1 2 3 4 5 6 7 8; do
        eddy get "many/$i" | cmp - numbers || return 1
    done
}
recover() { eddy ring recover --accept-data-loss --yes; }

kill_nodes 2 3
check "two are lost, and the groups go on without them" within 30 recover
check "all bytes are there" within 20 are_there
kill_nodes 1
run 2
run 3
is_former() { eddy ring recover --dry-run | grep -q 'OF GENERATION 1:'; }
check "the founder is lost: only former lives are left of some groups" \
    within 30 is_former
check "they go on from those" within 30 recover
check "all bytes are there still" within 20 are_there
check "once is enough" recover
run 1
check "the founder is back, and all is 3-fold again" within 40 is_whole 3 1 2 3 4
check "all bytes are there in the end" within 20 are_there
finish
