#!/usr/bin/env bash
# memory.sh - a large file goes in and comes out with bounded memory.
#
# RssAnon (what a process has for itself; pages of the store are the kernel's)
# of the client and of each node is sampled all the while. FULL=1: 1 GiB
# under 256 MiB; else 256 MiB under 128 MiB.
. "$(dirname "$0")/lib.sh"
SIZE=256 BOUND=128 # MiB
[ -z "${FULL:-}" ] || SIZE=1024 BOUND=256
BOUND=$((BOUND * SLOW))
SAMPLE_SECONDS=0.05

# A sanitizer's quarantine of freed memory is not the program's.
export ASAN_OPTIONS="quarantine_size_mb=4:thread_local_quarantine_size_kb=64:${ASAN_OPTIONS:-}"

# The input: a counter in each line, so that no two segments are alike.
input() { seq -f '%015g' 100000000 | head -c "${SIZE}M"; }

begin 3
free=$(df -m --output=avail "$W" | tail -n 1)
[ "$free" -gt $((SIZE * 6 + 1024)) ] ||
    { not_ok "only $free MiB are free in $W, $((SIZE * 6 + 1024)) are needed"; finish; }
cluster 3

rss_kib() { sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null; }
# watch PID NAME: its largest RssAnon so far is in the file NAME.rss (KiB).
watch() {
    local most=0 now
    while now=$(rss_kib "$1") && [ -n "$now" ]; do
        [ "$now" -le $most ] || echo $((most = now)) >"$2.rss"
        sleep $SAMPLE_SECONDS
    done
}
for i in 1 2 3; do
    watch "${PID[i]}" n$i &
    OTHERS+=("$!")
done
judge() { # judge NAME
    local mib=$(($(cat "$1.rss") / 1024))
    check "$1: RssAnon at most $mib MiB, bound $BOUND" test $mib -lt $BOUND
}
# client NAME COMMAND...: eddy, watched; its status.
client() {
    local name=$1 pid status
    shift
    # <&0: what runs in the background would get no input.
    "$EDDY" "$@" --key "$ADMIN" -q <&0 >"$name.out" 2>"$name.err" &
    pid=$!
    OTHERS+=("$pid")
    watch $pid "$name"
    wait $pid
}

input >data
begun=$(now_ms)
check "put of $SIZE MiB" client put put big data
took=$(($(now_ms) - begun))
say "put: $((SIZE * 1048576 / took / 1000)) MB/s"
begun=$(now_ms)
check "get of $SIZE MiB" client get get big -o output
took=$(($(now_ms) - begun))
say "get: $((SIZE * 1048576 / took / 1000)) MB/s"
check "byte for byte the same" cmp data output
rm -f output
check "and from standard input" eval 'client pipe put piped - <data'
check "the same again" cmp data <(eddy get piped)
for name in put get pipe n1 n2 n3; do
    judge $name
done
check "all replicas are good" within 30 is_whole 3 1 2 3
finish
