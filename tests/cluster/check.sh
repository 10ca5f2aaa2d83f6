#!/usr/bin/env bash
# check.sh - bytes of a node's file are flipped while it is down: `ring check`
# names what is damaged, and the node mends it from another; a read finds it as
# well; damage of a row that is no payload's ends the node.
. "$(dirname "$0")/lib.sh"
PARTITIONS=16

begin 3
cluster 3 --partitions $PARTITIONS

# Real files, and one whose lines can be found again in a node's file.
mapfile -t FILES < <(
    find /usr/bin /usr/lib -xdev -type f -size +300k -size -2M |
        LC_ALL=C sort | head -n 6)
for ((line = 0; line < 20000; line++)); do
    echo "this line is a line of the marked file, and its number is <$line>"
done >marked
FILES+=("$W/marked")
put_all() {
    local i
    for i in "${!FILES[@]}"; do
        eddy put "check/$i" "${FILES[i]}" --segment 64K -q || return 1
    done
}
are_whole() { # by whatever nodes are up
    local i
    for i in "${!FILES[@]}"; do
        "$EDDY" get "check/$i" --key "$ADMIN" --node "${CLIENT[1]}" \
            --node "${CLIENT[2]}" --node "${CLIENT[3]}" | cmp - "${FILES[i]}" ||
            return 1
    done
}
ring_check() { # ring_check CODE [OPTION...]: its words are in check.out
    local code=$1 status
    shift
    timeout $((30 * SLOW)) "$EDDY" ring check --key "$ADMIN" "$@" \
        >check.out 2>check.err </dev/null
    status=$?
    cat check.out check.err
    [ $status = "$code" ]
}
says() { grep -qE -- "$1" check.out; }
has() { grep -qaF "its number is <$2>" "$W/n$1/data.mdb"; }
# flip I LINE: a byte of that line is another, wherever n$I's file has it. LMDB
# leaves what it has freed where it was, so that may be more than once.
flip() {
    local at
    for at in $(grep -obaF "its number is <$2>" "$W/n$1/data.mdb" |
        cut -d: -f1); do
        printf '#' | dd of="$W/n$1/data.mdb" bs=1 seek="$at" conv=notrunc \
            status=none
    done
    ! has "$1" "$2"
}
is_mended() { grep -q 'is mended' "$W/n$1.log"; }

check "real files are put" put_all
check "ring check: all copies are whole and equal (exit 0)" ring_check 0
say "$(tail -n 1 check.out)"
check "and says so" says '^OK 51 copies of 17 groups, .* 0 rows damaged'

# ---- found by ring check -------------------------------------------------------

stop_node 2
check "with a node down it is not 0, but 1" ring_check 1
check "and it names the node" says '^NOT_CHECKED node n2: 17 copies'
check "a line in the middle of n2's copy is damaged" flip 2 3333
check "and another, some segments further" flip 2 15555
run 2
check "n2 starts all the same" within 10 is_ready 2
check "and is back" within 20 is_whole 3 1 2 3
check "ring check finds it and has it mended (exit 10)" ring_check 10
grep MENDED check.out | while read -r line; do say "$line"; done
check "it names partition, node, stream and segment" \
    says '^MENDED partition [0-9]+ node n2 stream check/6 segment 3: '
check "of both" says '^MENDED .* stream check/6 segment 15: '
check "the bytes are in n2's file again" has 2 3333
check "of both" has 2 15555
check "ring check again: all is whole (exit 0)" ring_check 0
check "as JSON too" ring_check 0 --json
check "one document" says '^\{"schema":1,"findings":\[\],"status":"OK"'
kill_nodes 1
check "n2 and n3 have all files, byte for byte" are_whole
run 1
check "n1 is back" within 20 is_whole 3 1 2 3

# ---- found by a read -----------------------------------------------------------

stop_node 3
check "a line of n3's copy is damaged" flip 3 7777
run 3
check "n3 is back" within 20 is_whole 3 1 2 3
reads_find_it() { are_whole && is_mended 3; }
check "reads give the right bytes, and n3 mends its own" \
    within 15 reads_find_it
check "they are in its file again" within 5 has 3 7777
check "ring check: all is whole (exit 0)" ring_check 0

# ---- damage that is not a payload's --------------------------------------------

# The name of a stream stands in a row of the state, which is read at a start,
# and by ring check.
stop_node 2
at=$(grep -obaF check/0 "$W/n2/data.mdb" | cut -d: -f1)
for offset in $at; do
    printf '#' | dd of="$W/n2/data.mdb" bs=1 seek="$offset" conv=notrunc \
        status=none
done
run 2
exit_of 2 10
check "a damaged row of the state: n2 does not start (78)" test $? = 78
check "ring check is not 0" ring_check 1
finish
