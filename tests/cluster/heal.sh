#!/usr/bin/env bash
# heal.sh - four nodes, one killed for good: after out-after the other three
# have all copies, with nobody at the keyboard; started again it is taken back.
. "$(dirname "$0")/lib.sh"
PARTITIONS=64
# Gossip's few seconds, out-after, 10 s between records, and the copies.
HEALED_SECONDS=35

begin 4
cluster 4 --partitions $PARTITIONS --out-after 3s

# Real files: what this machine has at hand, 20 MiB or so.
mapfile -t FILES < <(
    find /usr/bin /usr/lib -xdev -type f -size +1M -size -6M | LC_ALL=C sort | head -n 8)
FILES+=("$EDDYD" "$EDDY")
put_all() {
    local i
    for i in "${!FILES[@]}"; do
        eddy put "heal/$i" "${FILES[i]}" --segment 64K -q || return 1
    done
}
are_whole() { # byte for byte, by whatever nodes are there
    local i
    for i in "${!FILES[@]}"; do
        "$EDDY" get "heal/$i" --key "$ADMIN" --node "${CLIENT[1]}" \
            --node "${CLIENT[2]}" --node "${CLIENT[3]}" | cmp - "${FILES[i]}" ||
            return 1
    done
}
# Which members `ring members` says to be out: their names.
out_members() { eddy ring members | awk '/^.X/ { print $3 }'; }
is_out() { [ "$(out_members)" = "n$1" ]; }
none_is_out() { [ -z "$(out_members)" ]; }
# Every partition is where the table wants it, and whole.
is_at_its_row() {
    eddy ring table | awk '
        function sorted(list,   a, n, i, j, t) {
            n = split(list, a, ",")
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && a[j] < a[j - 1]; j--) {
                    t = a[j]; a[j] = a[j - 1]; a[j - 1] = t
                }
            t = ""
            for (i = 1; i <= n; i++) t = t a[i] ","
            return t
        }
        $1 == "ring" { next }
        sorted($2) != sorted($4) { bad = 1 }
        { rows++ }
        END { exit bad || rows != '$PARTITIONS' }'
}
keeps() { # keeps I: partitions that the table gives it
    eddy ring table | awk -v name="n$1" '
        $1 != "ring" && ("," $2 ",") ~ ("," name ",") { n++ }
        END { print n + 0 }'
}

check "$(du -cbL "${FILES[@]}" | awk 'END { print int($1 / 1048576) }') MiB of real files are put" put_all
kept=$(keeps 4)
check "n4 keeps its share ($kept of $PARTITIONS partitions)" \
    test "$kept" -ge $((PARTITIONS / 2))

# ---- one dies for good -------------------------------------------------------

kill_nodes 4
killed=$(now_ms)
check "ring wait: all is 3-fold on the other three" \
    timeout $((HEALED_SECONDS * SLOW)) "$EDDY" ring wait --key "$ADMIN" \
    --timeout $((HEALED_SECONDS * SLOW))s -q
say "healed $(($(now_ms) - killed)) ms after the kill"
check "n4 reads as out" is_out 4
check "and has no partition" test "$(keeps 4)" = 0
check "each partition has three whole copies" is_whole 3 1 2 3
check "all files are there byte for byte" are_whole
eddy ring status >status.out
check "ring status says what to do about n4" \
    grep -q 'MEMBER_OUT 1 .*n4.*start eddyd' status.out
kill_nodes 3
check "and with one of the three dead, too: its copies were real" are_whole
run 3
check "n3 is back" within 20 is_whole 3 1 2 3

# ---- it comes back after all ---------------------------------------------------

check "put while n4 is away" eddy put after "$EDDY" --segment 64K -q
run 4
begun=$(now_ms)
check "n4 starts" within 5 is_ready 4
check "n4 is taken back" within 20 none_is_out
say "taken back $(($(now_ms) - begun)) ms after its start"
check "it keeps its share again, all is where it belongs" \
    within 25 is_at_its_row
say "settled $(($(now_ms) - begun)) ms after its start"
check "and whole" within 10 is_whole 3 1 2 3 4
check "n4 has as much as before" test "$(keeps 4)" -ge $((PARTITIONS / 2))
check "all files are there byte for byte still" are_whole
check "with what came meanwhile" cmp "$EDDY" <(eddy get after)
finish
