#!/usr/bin/env bash
# long_demo.sh - `eddy demo` tells its story to the end: three nodes, five, of
# which the ring heals without one, and what a terminal sees of that.
# alone: the demo chooses its ports itself
. "$(dirname "$0")/lib.sh"
DEMO_SECONDS=$((180 * SLOW))

begin 0
demo() { TMPDIR=$W timeout $DEMO_SECONDS "$EDDY" demo "$@" </dev/null >demo.out 2>demo.err; }
# tells NAME PATTERN...: the story has these lines, in this order.
tells() {
    local name=$1 at=0 line
    shift
    for pattern in "$@"; do
        line=$(tail -n +$((at + 1)) demo.out | grep -nE -m 1 -- "$pattern") ||
            { not_ok "$name: not /$pattern/ after line $at"; return; }
        at=$((at + ${line%%:*}))
    done
    ok "$name"
}

check "eddy demo" demo
tells "kills one of three and takes it back" 'killed n[123] with -9' \
    'got all back without it' 'n[123] runs again' 'caught up' \
    'got all back,.*every byte the same' '^OK cluster' 'all stopped'
say "$(tail -n 1 demo.out)"
if grep -qE 'out of the ring|copies whole' demo.out; then
    not_ok "three have nowhere to heal to, and say nothing of it"
else
    ok "three have nowhere to heal to, and say nothing of it"
fi

check "eddy demo 5" demo 5
tells "the ring heals without the dead one, then takes it back" \
    'killed n[1-5] with -9' 'does not come back' \
    'is out of the ring: its [0-9]+ copies' \
    '\[#+-+\] [0-9]+ of 192 copies whole' \
    'all 192 copies are whole again, on the other 4 nodes' \
    'got all back from them,.*every byte the same' 'n[1-5] is taken back' \
    'got all back,.*every byte the same' '^OK cluster' 'all stopped'
say "$(tail -n 1 demo.out)"
check "nothing is left of it" test -z "$(find "$W" -name 'eddy-demo.*')"

# On a terminal a line is written over and over.
if command -v script >/dev/null; then
    printf '\n' | TMPDIR=$W timeout $DEMO_SECONDS \
        script -qec "$EDDY demo 4" demo.tty >/dev/null 2>&1
    tr '\r' '\n' <demo.tty >demo.out
    tells "a terminal sees a bar grow" '\[#+-+\] [0-9]+ of 192 copies whole' \
        'all 192 copies are whole again, on the other 3 nodes' \
        'press Enter' 'all stopped'
fi
finish
