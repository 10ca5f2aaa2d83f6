#!/usr/bin/env bash
# disk.sh - two flushes a cycle and not per append; a failed commit ends the
# process with 74; a full disk refuses appends and nothing else.
. "$(dirname "$0")/lib.sh"
APPENDS=6000

at_end() {
    local i
    for i in 1 2 3; do
        mountpoint -q "$W/n$i" && umount "$W/n$i"
    done
}

# ---- a small disk ------------------------------------------------------------

# Each node's folder is a tmpfs of its own. Where nothing can be mounted, the
# shim (shim.c) tells the nodes of a small disk.
SMALL=420 LARGE=1400 # MiB; 256 of them are to stay free
FULL_FREE=200        # what the shim says is free of a full one
run_shimmed() { # run_shimmed I
    local shim=(env LD_PRELOAD="$SHIM" SHIM_FAIL="$W/fail$1" SHIM_SPACE="$W/space" \
        ASAN_OPTIONS="verify_asan_link_order=0:${ASAN_OPTIONS:-}")
    run "$1" "${shim[@]}"
}
begin 3
HOW=tmpfs
mkdir -m 700 n1 n2 n3
for i in 1 2 3; do
    mount -t tmpfs -o size=${SMALL}m,mode=700 eddy-test "$W/n$i" 2>/dev/null ||
        HOW=shim
done
say "small disks are by $HOW"

found
run_shimmed 1
within 10 is_ready 1 || not_ok "n1 is not ready"
for i in 2 3; do
    enter $i
    run_shimmed $i
done
within 20 is_healthy 3 1 2 3 || { not_ok "the cluster does not form"; finish; }

# ---- flushes -----------------------------------------------------------------

# The process below env is the same one; LMDB's second descriptor of the file
# is the one with O_DSYNC (010000), for the meta page.
dsync_fd() {
    local f flags
    for f in /proc/"$1"/fdinfo/*; do
        flags=$(sed -n 's/^flags:[[:space:]]*//p' "$f")
        ((8#$flags & 8#10000)) && basename "$f"
    done
}
seq -f '%063g' $APPENDS >lines
mkdir acks
NODES=${CLIENT[1]},${CLIENT[2]},${CLIENT[3]}
"$RECORDER" create "$ADMIN" "$NODES" 64 >streams.out
if ! command -v strace >/dev/null || ! strace -o /dev/null true 2>/dev/null; then
    not_ok "strace is not there, or may not trace (make deps)"
else
    meta=$(dsync_fd "${PID[1]}")
    before=$(status_of 1 commits)
    strace -f -e trace=fdatasync,fsync,msync,pwrite64,pwritev -o trace \
        -p "${PID[1]}" 2>strace.log &
    tracer=$!
    OTHERS+=("$tracer")
    within 5 grep -q attached strace.log
    # One client as fast as it can, then eight with 64 streams.
    check "$APPENDS appends of 64 bytes" eddy put small lines --segment 64 -q
    "$RECORDER" load "$ADMIN" "$NODES" 64 acks 1 2>recorder.log &
    loader=$!
    OTHERS+=("$loader")
    sleep 3
    kill -TERM $loader
    wait $loader
    sleep 0.5
    kill -INT $tracer
    wait $tracer 2>/dev/null
    commits=$(($(status_of 1 commits) - before))
    appends=$((APPENDS + $(cat acks/acks.* | wc -l)))
    syncs=$(grep -cE ' (fdatasync|fsync|msync)\(' trace)
    metas=$(grep -cE " pwrite64\\($meta," trace)
    say "$appends appends, $commits cycles, $syncs fdatasync, $metas writes of the meta page (O_DSYNC)"
    near() { [ $(($1 - commits)) -ge -5 ] && [ $(($1 - commits)) -le 5 ]; }
    check "one fdatasync a cycle ($syncs of $commits)" near "$syncs"
    check "one synced meta write a cycle ($metas of $commits)" near "$metas"
    check "not per append: $((syncs + metas)) flushes for $appends appends" \
        test $(((syncs + metas) * 3)) -lt $appends
fi

# ---- no space ----------------------------------------------------------------

# In pieces, so that the nodes, who look once a second, see it coming.
head -c 4000000 /dev/urandom >piece
eddy put kept piece --segment 64K -q >/dev/null || not_ok "put"
fill() {
    local k
    for ((k = 1; k <= 100; k++)); do
        [ $HOW = tmpfs ] || [ $k -lt 5 ] || echo $FULL_FREE >space
        eddy put full/$k piece --segment 256K --timeout 3s -q >full.out 2>full.err
        code=$?
        [ $code = 0 ] || return 0
        written=$k
        sleep 0.15
    done
    return 1
}
written=0
if fill; then
    ok "appends end after $((written * 4)) MB, $(df -m --output=avail n1 | tail -n 1 | tr -d ' ') MiB free (exit $code)"
else
    not_ok "$((written * 4)) MB were taken by a disk of $SMALL MiB"
fi
check "it exits 1 and says why" eval 'test $code = 1 && grep -qiE "NO_SPACE|full|space" full.err'
say "$(head -n 1 full.err)"
check "the log names the remedy" grep -q 'NO_SPACE.*free space' n1.log
check "reads go on" cmp piece <(eddy get kept)
check "streams can be listed" eddy stream list -q
is_full() { [ "$(status_of "$1" is_full)" = 1 ]; }
check "all say that they are full" eval 'within 5 is_full 1 && is_full 2 && is_full 3'

# Elections go on: the leader's role passes when a node dies.
kill_nodes 2
rest_leads() {
    [ $(($(status_of 1 leaders) + $(status_of 3 leaders))) = 256 ]
}
check "elections go on: n1 and n3 lead all without n2" within 10 rest_leads
check "reads go on without n2" cmp piece <(eddy get kept)
run_shimmed 2
check "n2 comes back on its full disk" within 5 is_ready 2
check "and catches up" within 20 is_whole 3 1 2 3
refused "appends are still refused" 1 'NO_SPACE|full|space' \
    eddy put full/more piece --timeout 2s
if [ $HOW = tmpfs ]; then
    for i in 1 2 3; do
        mount -o remount,size=${LARGE}m "$W/n$i"
    done
else
    rm space
fi
goes_on() { eddy put full/again piece --segment 256K --timeout 3s -q; }
check "with more space appends go on" within 10 goes_on
check "and what was taken before is there" cmp piece <(eddy get full/1)
check "the last one taken, too" cmp piece <(eddy get full/$written)

# ---- a disk that fails -------------------------------------------------------

# As n2 sees it: the shim asks for the file before each flush.
: >fail2
eddy put during piece --segment 64K -q >/dev/null || not_ok "put while n2's disk fails"
exit_of 2 10
code=$?
check "a failed commit ends the process with 74 (exit $code)" test $code = 74
check "and says why, and what to do" grep -q 'commit failed.*check it before' n2.log
check "the others have what was put" cmp piece <(eddy get during)
rm fail2
run 2
check "on a good disk it comes back" within 5 is_ready 2
check "and catches up" within 20 is_whole 3 1 2 3
finish
