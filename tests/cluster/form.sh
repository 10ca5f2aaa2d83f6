#!/usr/bin/env bash
# form.sh - three processes form a cluster; a fourth joins.
# alone: it says how fast
. "$(dirname "$0")/lib.sh"
FORM_SECONDS=10 # from the last run
JOIN_SECONDS=60

begin 4
found
check "init prints the commands for the next machines" \
    grep -q 'eddyd join --data DIR --to' "$W/init.out"
check "init makes the keys, closed to others" \
    test "$(stat -c '%a %n' n1/keys/* | tr '\n' ' ')" = \
    "600 n1/keys/admin.key 600 n1/keys/join.key 600 n1/keys/node.key "

run 1
check "the first node is ready" within 10 is_ready 1
enter 2
enter 3
run 2
run 3
begun=$(now_ms)
if within $FORM_SECONDS is_healthy 3 1 2 3; then
    took=$(($(now_ms) - begun))
    ok "256 partitions of three voters, led 85 or 86 each, $took ms after the last run"
else
    not_ok "the cluster is not healthy in $FORM_SECONDS s: leaders $(
        for i in 1 2 3; do status_of $i leaders; done | tr '\n' ' ')"
fi
for i in 1 2 3; do
    read -r word id name client peer <"$W/n$i.out"
    check "n$i says ready with id, name and addresses" \
        test "$word ${#id} $name $client $peer" = \
        "ready 32 n$i ${CLIENT[i]} ${PEER[i]}"
done
check "ring wait says healthy" eddy ring wait --timeout 10s
check "ring status says OK" grep -q '^OK' <(eddy ring status)

head -c 3000000 /dev/urandom >data
check "put" eddy put form/data data --segment 16K -q
check "get gives the same bytes" cmp data <(eddy get form/data)

enter 4
run 4
begun=$(now_ms)
if within $JOIN_SECONDS is_healthy 3 1 2 3 4; then
    ok "a fourth node has its share $(($(now_ms) - begun)) ms after its run"
else
    not_ok "four nodes are not healthy in $JOIN_SECONDS s: leaders $(
        for i in 1 2 3 4; do status_of $i leaders; done | tr '\n' ' ')"
fi
check "ring wait says healthy with four" eddy ring wait --timeout 20s
for i in 1 2 3 4; do
    groups=0
    status $i
    say "n$i: $groups replicas, $leaders leaders"
done
check "get gives the same bytes from four" cmp data <(eddy get form/data)

begun=$(now_ms)
for i in 4 3 2 1; do
    kill -TERM "${PID[i]}"
done
codes=''
for i in 4 3 2 1; do
    exit_of $i 20
    codes+="$? "
done
check "SIGTERM stops all with exit 0 ($(($(now_ms) - begun)) ms)" \
    test "$codes" = "0 0 0 0 "
begun=$(now_ms)
for i in 1 2 3 4; do
    run $i
done
all_ready() { is_ready 1 && is_ready 2 && is_ready 3 && is_ready 4; }
check "all ready again within 2 s" within 2 all_ready
say "ready $(($(now_ms) - begun)) ms after the restart"
check "healthy again within 10 s" within 10 is_healthy 3 1 2 3 4
check "the bytes are still there" cmp data <(eddy get form/data)

stop_node 4
run 4 env LD_PRELOAD="$SHIM" SHIM_CLOCK=60 \
    ASAN_OPTIONS="verify_asan_link_order=0:${ASAN_OPTIONS:-}"
is_told() { grep -q 'CLOCK_SKEW 1 - n4: ' <(eddy ring status); }
check "ring status names a clock that is a minute ahead" within 10 is_told
finish
