#!/usr/bin/env bash
# heal.sh - five nodes under load, one killed for good: after out-after the other
# four have all copies, with nobody at the keyboard. It starts again and is taken
# back, two join, one is drained. long_grow.sh does the same one by one and with
# more of everything.
. "$(dirname "$0")/lib.sh"
PARTITIONS=64
SIZE=20 # MiB of real files
# Gossip's few seconds, out-after, 10 s between records, and the copies.
HEALED_SECONDS=35
MOVED_SECONDS=45
PACE_MS=100 # of the load

begin 7
cluster 5 --partitions $PARTITIONS --out-after 3s
find_files $SIZE 1M 6M
make_streams 8 1 2 3
start_load 1 $PACE_MS

check "$SIZE MiB of real files are put" put_files $SIZE
kept=$(keeps 4)
check "n4 keeps its share ($kept of $PARTITIONS partitions)" \
    test "$kept" -ge $((PARTITIONS / 3))

# ---- one dies for good -------------------------------------------------------

kill_nodes 4
killed=$(now_ms)
check "ring wait: all is 3-fold on the other four" \
    timeout $((HEALED_SECONDS * SLOW)) "$EDDY" ring wait --key "$ADMIN" \
    --timeout $((HEALED_SECONDS * SLOW))s -q
say "healed $(($(now_ms) - killed)) ms after the kill"
check "n4 reads as out" is_out 4
check "and has no partition" test "$(keeps 4)" = 0
check "each partition has three whole copies" within 10 is_whole 3 1 2 3 5
check "ring check: they are whole and equal" eddy ring check -q
check "all files are there byte for byte" same_files
eddy ring status >status.out
check "ring status says what to do about n4" \
    grep -q 'MEMBER_OUT 1 .*n4.*start eddyd' status.out
kill_nodes 3
check "and with another one dead, too: its copies were real" same_files
run 3
check "n3 is back" within 20 is_whole 3 1 2 3 5

# ---- it comes back after all, two join, one leaves ---------------------------

has_left() { ! eddy ring members | grep -q " n$1 "; }
have_come() { none_is_out && has_share 4 && has_share 6 && has_share 7; }
for i in 6 7; do
    enter $i
    run $i
done
run 4
begun=$(now_ms)
check "n4 is taken back, n6 and n7 join: all have a share" \
    within $MOVED_SECONDS have_come
say "in the table $(($(now_ms) - begun)) ms after their start"
check "n2 is drained" eddy ring drain n2 --yes -q
check "until it has left" within $MOVED_SECONDS has_left 2
check "all is where it belongs" within $MOVED_SECONDS is_at_its_row
say "settled $(($(now_ms) - begun)) ms after their start"
check "each partition has three whole copies" within 10 is_whole 3 1 3 4 5 6 7
check "ring check: all copies are whole and equal" eddy ring check -q
check "all files are there byte for byte" same_files
stop_load
verify "all that was acknowledged the whole time"
check "and no append failed" test ! -s recorder.log
finish
