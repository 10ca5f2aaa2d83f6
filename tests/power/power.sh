#!/usr/bin/env bash
# power.sh - power losses below the real store (README.md): first a store at
# work by itself, then three eddyd under load, all of which lose power at once.
# Exit 3: something acknowledged was lost.
. "$(dirname "$0")/../cluster/lib.sh"
POWER_BIN=$(dirname "$EDDYD")/tests/power
SEED=${SEED:-1}
: "${STORE_LOSSES:=0}" # of the first; 0: one at each event
: "${LOSSES:=100}"     # of all three at once
[ "$SLOW" = 1 ] || STORE_LOSSES=100 LOSSES=20
STREAMS=16
export ASAN_OPTIONS="verify_asan_link_order=0:${ASAN_OPTIONS:-}"

worst=0
judge() { # judge COMMAND...: what it prints are claims
    local status
    "$@"
    status=$?
    [ $status -le $worst ] || worst=$status
    return $status
}

judge "$POWER_BIN/power" store "$POWER_BIN/preload.so" "$SEED" "$STORE_LOSSES"

# ---- three nodes -------------------------------------------------------------

begin 3
export POWER_TAPE=$W/tape EDDYD_REAL=$EDDYD

# eddyd below the recorder; the folder's name has the node's number.
EDDYD=$W/eddyd
cat >"$EDDYD" <<'END'
#!/usr/bin/env bash
for word; do
    case $word in */n[1-9]) node=${word##*/n} ;; esac
done
export LD_PRELOAD=$POWER_PRELOAD POWER_NODE=$((node - 1))
exec "$EDDYD_REAL" "$@"
END
chmod +x "$EDDYD"
export POWER_PRELOAD=$POWER_BIN/preload.so

KILL=USR2 # the recorder's own kill -9 (preload.c)

begin_load() { # two writers, in the background
    LD_PRELOAD=$POWER_PRELOAD POWER_ACKS=1 \
        "$RECORDER" load "$ADMIN" "$NODES" $STREAMS acks 1 2 2>>recorder.log &
    LOADER=$!
    OTHERS+=("$LOADER")
}
acknowledged() { cat acks/acks.* 2>/dev/null | wc -l; }
has() { [ "$(acknowledged)" -ge "$1" ]; }
# go_on N: until so many more segments have been acknowledged.
go_on() {
    within 30 has $(($(acknowledged) + $1)) || not_ok "appends do not go on"
}
end_load() {
    kill -TERM "$LOADER"
    wait "$LOADER" 2>/dev/null
}

PARTITIONS=16
cluster 3 --partitions $PARTITIONS
NODES=${CLIENT[1]},${CLIENT[2]},${CLIENT[3]}
mkdir acks
"$RECORDER" create "$ADMIN" "$NODES" $STREAMS >streams.out || exit 1
begin_load
go_on 300
kill_nodes 1 2 3
for i in 1 2 3; do
    run $i
done
go_on 400
kill_nodes 2
go_on 200
run 2
within 10 is_ready 2 || not_ok "n2 does not start"
go_on 300
end_load
for i in 1 2 3; do
    stop_node $i || not_ok "n$i does not stop: exit $?"
done
if ! judge "$POWER_BIN/power" ring "$POWER_TAPE" 3 "$LOSSES"; then
    mkdir -p "$ROOT/build/power"
    cp "$POWER_TAPE" "$ROOT/build/power/tape"
    say "the tape is kept: $POWER_BIN/power ring build/power/tape 3 $LOSSES"
fi
[ $bad = 0 ] || exit 1
exit $worst
