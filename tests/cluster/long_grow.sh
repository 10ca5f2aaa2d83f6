#!/usr/bin/env bash
# long_grow.sh - two GB of real files on five nodes, under load the whole time:
# one is killed for good and the ring heals; two join; the first is drained; the
# dead one comes back; one whose folder was wiped comes as a new one. After each
# step everything is there three times and byte for byte. In the end two die at
# once, and only one of them goes out by itself.
# alone: it measures, and fills the disk for a while
. "$(dirname "$0")/lib.sh"
SIZE=${SIZE:-2048}     # MiB of files
OUT_AFTER_SECONDS=10
STEP_SECONDS=240       # for the copies of one step
STREAMS=16 PACE_MS=50  # of the load

begin 8
free=$(df -m --output=avail "$W" | tail -n 1)
[ "$free" -gt $((SIZE * 8 + 4096)) ] ||
    { not_ok "only $free MiB are free in $W, $((SIZE * 8 + 4096)) are needed"; finish; }

# ---- steps -------------------------------------------------------------------

# begin_step, end_step NAME [MIB]: what it took, and how the load did.
begin_step() { STEP_MS=$(now_ms) STEP_US=${EPOCHREALTIME/./}; }
end_step() {
    local ms=$(($(now_ms) - STEP_MS)) count median p99 worst rate=''
    read -r count median p99 worst < <(load_took "$STEP_US" "${EPOCHREALTIME/./}")
    [ $# -lt 2 ] || rate=", about $2 MiB, $(($2 * 1000 / (ms + 1))) MiB/s"
    say "$1: $ms ms$rate; $count appends meanwhile, median $median ms, p99 $p99 ms, longest $worst ms"
}
# What so many of the ring's copies have, in MiB.
mib_of_copies() { echo $(($1 * (STORED_BYTES / 1048576) / PARTITIONS)); }
settled() { # settled NAME
    check "$1" eddy ring wait --timeout $((STEP_SECONDS * SLOW))s -q
}
# all_is_there N I...: three times on these N nodes, compared, and as the files.
all_is_there() {
    local members
    members=$(eddy ring members --json | grep -o '"name":"[^"]*"' | wc -l)
    check "$1 members" test "$members" = "$1"
    check "each partition has three whole copies" within 20 is_whole 3 "${@:2}"
    check "ring check: all copies are whole and equal" \
        timeout $((STEP_SECONDS * SLOW)) "$EDDY" ring check --key "$ADMIN" -q
    check "all $STORED files have the sha256 that they had" same_files
}

# ---- five nodes, two GB --------------------------------------------------------

cluster 5 --out-after ${OUT_AFTER_SECONDS}s
find_files $((SIZE / 4)) 8M 64M # each is there four times, under other names
make_streams $STREAMS 1 2 4
start_load 2 $PACE_MS
begin_step
sleep 5
end_step "at rest"
begin_step
check "$SIZE MiB of real files are put" put_files "$SIZE"
end_step "put" "$SIZE"
say "$STORED files, ${#FILES[@]} of them different, $((STORED_BYTES / 1048576)) MiB"

# ---- one dies for good ---------------------------------------------------------

kept=$(keeps 3)
begin_step
kill_nodes 3
check "n3 is dead for $OUT_AFTER_SECONDS s and out" within 60 is_out 3
end_step "n3 killed, and out"
begin_step
settled "all is 3-fold on the other four"
end_step "healed" "$(mib_of_copies "$kept")"
all_is_there 5 1 2 4 5

# ---- two join ------------------------------------------------------------------

are_ready() { is_ready 6 && is_ready 7; }
begin_step
for i in 6 7; do
    enter $i
    run $i
done
check "n6 and n7 are ready" within 30 are_ready
settled "two join and have their share"
end_step "two joined" "$(mib_of_copies $(($(keeps 6) + $(keeps 7))))"
all_is_there 7 1 2 4 5 6 7

# ---- the first is drained --------------------------------------------------------

kept=$(keeps 1)
begin_step
check "n1 is drained" eddy ring drain n1 --yes -q
settled "until it has left"
end_step "n1 drained" "$(mib_of_copies "$kept")"
all_is_there 6 2 4 5 6 7
exit_of 1 30
check "the eddyd of n1 has ended with 79" test $? = 79

# ---- the dead one comes back -----------------------------------------------------

begin_step
run 3
check "n3 is taken back" within 60 none_is_out
check "n3 has its share again" within $STEP_SECONDS is_at_its_row
end_step "n3 is back" "$(mib_of_copies "$(keeps 3)")"
all_is_there 6 2 3 4 5 6 7

# ---- one is wiped ------------------------------------------------------------------

# Its old folder is kept aside, to see that nobody listens to it any more.
kept=$(keeps 5)
kill_nodes 5
mv n5 n5.old
# The key's only contact was n1, which has left: n2's line, from its join.
sed -n 's/^ *\(contact .*\)/\1/p' join2.out >>"$JOIN"
begin_step
enter 8 --to "${CLIENT[2]}"
run 8
check "whose folder was wiped comes as a new one" within 60 has_share 8
check "it takes the place of what it was" eddy ring replace n5 n8 --yes -q
settled "until n5 has left"
end_step "n8 for n5" "$(mib_of_copies "$kept")"
mv n5.old n5
run 5
exit_of 5 30
check "n5 as it was is told that it has left (79)" test $? = 79
all_is_there 6 2 3 4 6 7 8
stop_load
verify "all that was acknowledged the whole time"
check "and no append failed" test ! -s recorder.log

# ---- two at once -----------------------------------------------------------------

# What has two of its copies on these two waits; the rest goes on.
one_is_out() { is_out 6 || is_out 7; }
kill_nodes 6 7
begun=$(now_ms)
check "one of two that died at once is out" within 60 one_is_out
say "$(out_members) is out $(($(now_ms) - begun)) ms after the kill"
is_out 6 && held=7 || held=6
other=$((13 - held))
is_told() {
    grep -q "^DOES_NOT_HEAL 1 .* n$held: dead for more" <(eddy ring status)
}
check "ring status says that n$held does not go by itself" within 20 is_told
check "and ring why, and what to do" \
    grep -q "eddy ring remove n$held" <(eddy ring why node n$held)
sleep $((OUT_AFTER_SECONDS * 2))
check "it has not gone" is_out $other
run $held
check "started again, all is where it belongs" \
    within $STEP_SECONDS is_at_its_row
check "each partition has three whole copies" \
    within 20 is_whole 3 2 3 4 8 $held
run $other
check "n$other is taken back, too" within 60 none_is_out
check "and has its share again" within $STEP_SECONDS is_at_its_row
all_is_there 6 2 3 4 6 7 8
finish
