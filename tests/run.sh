#!/usr/bin/env bash
# run.sh KIND... - run what the Makefile has built, one kind after the other,
# and close with one line: "N passed, N failed".
#
#   unit      tests/unit/test_*.c   a cmocka program each
#   cases     tests/cases/*.txt     directed cases, each once more without its
#                                   rule; decide/*.txt, tables of decisions.
#                                   UPDATE=1 rewrites what they expect
#   fuzz      tests/fuzz/fuzz_*.c   the corpus and mutations of it (replay.c)
#   sim       tests/sim/sim.c       the simulator: one test, says its own totals
#   cluster   tests/cluster/*.sh    real processes: "ok NAME", "not ok NAME WHY"
#                                   (lib*.sh is sourced by the others;
#                                   long_*.sh run with FULL=1 only)
#   power     tests/power/*.sh      the same words: power losses below the store
#   mutants   ring/rule.h           each rule off: the simulator must object
#   fuzz-new  tests/fuzz/fuzz_*.c   libFuzzer looks for new inputs
#
# It trusts no exit status alone: a program that crashes, hangs, is missing or
# runs no test counts as a failure. A kind that has no tests yet says so.
#
# From the Makefile: TEST and RELEASE (folders below build/), SAN, SIM_ARGS,
# MUTANT_ARGS, SECONDS_EACH (fuzz-new). Cluster scripts find the programs in
# $EDDY and $EDDYD. Each program has a TMPDIR of its own, removed after it.
set -u -o pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob

UNIT_JOBS=2
SCRIPT_JOBS=2
UNIT_SECONDS=120    # a program that takes longer hangs
SIM_SECONDS=600
CLUSTER_SECONDS=300 # a script
LONG_SECONDS=3600   # one that is called long_*.sh
MUTATIONS=4000      # of each corpus, by replay

: "${TEST:=build/test}" "${RELEASE:=build/release}" "${SAN:=}"
: "${SIM_ARGS:=}" "${MUTANT_ARGS:=}" "${UPDATE:=}" "${FULL:=}"
logs=$TEST/logs
scratch=$(mktemp -d "${TMPDIR:-/tmp}/eddy.XXXXXX") || exit 1
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$logs"
passed=0 failed=0

export EDDY=$PWD/$RELEASE/eddy EDDYD=$PWD/$RELEASE/eddyd
export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1:${ASAN_OPTIONS:-}
export UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1:${UBSAN_OPTIONS:-}
if [ "$SAN" = thread ]; then
    # libzmq is not instrumented: its own locks are invisible (PITFALLS D9).
    printf 'called_from_lib:%s\n' libzmq.so.5 libstdc++.so.6 libsodium.so.23 >"$logs/tsan.supp"
    export TSAN_OPTIONS=suppressions=$PWD/$logs/tsan.supp:${TSAN_OPTIONS:-}
fi

pass() { passed=$((passed + ${1:-1})); }
fail() { failed=$((failed + 1)); printf 'not ok  %s\n' "$*"; }
none() { printf -- '--      no %s yet (%s)\n' "$1" "$2"; }
report() { printf 'ok      %-32s %s\n' "$1" "$2"; }

# limited SECONDS COMMAND...: with a time limit and a TMPDIR of its own.
limited() {
    local seconds=$1 dir status
    shift
    dir=$(mktemp -d "$scratch/XXXXXX") || return 1
    TMPDIR=$dir timeout -k 5 "$seconds" "$@" </dev/null
    status=$?
    rm -rf "$dir"
    return $status
}

why() { # why STATUS: in words
    case $1 in
    124) echo "did not end in time" ;;
    137) echo "was killed, or did not end when told to" ;;
    126 | 127) echo "is not there or does not start" ;;
    129 | 13? | 14?) echo "died of signal $(($1 - 128))" ;;
    *) echo "exit $1" ;;
    esac
}

# ---- cmocka programs ---------------------------------------------------------

# sum PATTERN FILE...: the numbers in the lines that the pattern (with N for
# the number) finds: one line for each group of tests.
sum() {
    local pattern=${1//N/'([0-9]+)'}
    shift
    cat "$@" | sed -nE "s/.*$pattern.*/\1/p" |
        awk '{ n += $1 } END { print n + 0 }'
}

# cmocka prints its results to stdout, failures and the summary to stderr.
run_cmocka() {
    local name=$1 log=$logs/${1//\//_} begun=$EPOCHREALTIME status
    limited $UNIT_SECONDS "$TEST/$name" >"$log.out" 2>"$log.err"
    status=$?
    printf '%s %s\n' $status \
        "$(awk "BEGIN { printf \"%.2f\", $EPOCHREALTIME - $begun }")" \
        >"$log.status"
}

judge_cmocka() {
    local name=$1 log=$logs/${1//\//_} status seconds run good bad skipped
    read -r status seconds <"$log.status"
    local both=("$log.out" "$log.err")
    run=$(sum '\[==========\] N test\(s\) run\.' "${both[@]}")
    good=$(sum '\[  PASSED  \] N test\(s\)\.' "${both[@]}")
    bad=$(sum '\[  FAILED  \] N test\(s\), listed' "${both[@]}")
    skipped=$(sum '\[  SKIPPED \] N test\(s\), listed' "${both[@]}")
    pass "$good"
    failed=$((failed + bad))
    local words="$good passed"
    [ "$skipped" = 0 ] || words+=", $skipped skipped"
    if [ "$bad" != 0 ]; then
        printf 'not ok  %s: %s failed\n' "$name" "$bad"
    elif [ "$status" != 0 ]; then
        fail "$name: $(why "$status"), after: $(tail -n 1 "$log.out")"
    elif [ "$good" = 0 ] || [ $((good + skipped)) != "$run" ]; then
        fail "$name: $run tests run, $good passed, $skipped skipped"
    else
        report "$name" "$words, $seconds s"
        return
    fi
    sed 's/^/    /' "$log.err" | tail -n 100
}

run_cmocka_programs() {
    local what=$1 source names=() running=0
    shift
    for source in "$@"; do
        names+=("${source%.c}")
    done
    [ ${#names[@]} != 0 ] || { none "$what" "tests/$what/"; return; }
    for source in "${names[@]}"; do
        [ $running -lt $UNIT_JOBS ] || { wait -n; running=$((running - 1)); }
        run_cmocka "$source" &
        running=$((running + 1))
    done
    wait
    for source in "${names[@]}"; do
        judge_cmocka "$source"
    done
}

# ---- cases -------------------------------------------------------------------

# judge_cases NAME WHAT COMMAND...: the last line that it prints is its report,
# and WHAT, a pattern, finds the number of what was good in it.
judge_cases() {
    local name=$1 what=$2 log=$logs/${1//\//_}.log status good
    shift 2
    limited $UNIT_SECONDS "$@" >"$log" 2>&1
    status=$?
    good=$(tail -n 1 "$log" | sed -nE "s/$what.*/\1/p")
    if [ "$status" != 0 ]; then
        fail "$name: $(why "$status")"
        tail -n 100 "$log" | sed 's/^/    /'
    elif [ "${good:-0}" = 0 ]; then
        fail "$name: found nothing to run"
    else
        pass "$good"
        report "$name" "$(tail -n 1 "$log")"
    fi
}

run_cases() {
    local bin=$TEST/tests/cases folder=tests/cases
    if [ -n "$UPDATE" ]; then
        "$bin/decide" --update $folder/decide/*.txt || failed=1
        "$bin/cases" --update $folder || failed=1
    fi
    judge_cases $folder/decide '^.*: ([0-9]+) as expected' \
        "$bin/decide" $folder/decide/*.txt
    judge_cases $folder '^([0-9]+) cases' "$bin/cases" $folder
    judge_cases $folder/off '^([0-9]+) of' "$bin/cases" --off-all $folder
}

# ---- fuzzers -----------------------------------------------------------------

run_fuzz() {
    local source stem status corpus sources=(tests/fuzz/fuzz_*.c)
    [ ${#sources[@]} != 0 ] || none fuzzers 'tests/fuzz/fuzz_*.c'
    for source in "${sources[@]}"; do
        stem=$(basename "${source%.c}")
        corpus=(tests/fuzz/corpus/"${stem#fuzz_}"/*)
        if [ ${#corpus[@]} = 0 ]; then
            fail "$stem: no corpus in tests/fuzz/corpus/${stem#fuzz_}/"
            continue
        fi
        limited $UNIT_SECONDS "$TEST/tests/fuzz/$stem" \
            -n $MUTATIONS -o "$logs/$stem.crash" "${corpus[@]}" \
            >"$logs/$stem.out" 2>"$logs/$stem.err"
        status=$?
        if [ $status = 0 ]; then
            pass
            report "tests/fuzz/$stem" "$(tail -n 1 "$logs/$stem.out")"
        else
            fail "tests/fuzz/$stem: $(why $status)"
            sed 's/^/    /' "$logs/$stem.err" | tail -n 100
        fi
    done
}

# New inputs gather in build/fuzz/corpus/NAME; those worth keeping are copied
# to tests/fuzz/corpus/NAME by hand.
run_fuzz_new() {
    local source stem name status seeds sources=(tests/fuzz/fuzz_*.c)
    for source in "${sources[@]}"; do
        stem=$(basename "${source%.c}") name=${stem#fuzz_}
        mkdir -p "$TEST/corpus/$name"
        seeds=()
        [ ! -d "tests/fuzz/corpus/$name" ] || seeds=("tests/fuzz/corpus/$name")
        "$TEST/tests/fuzz/$stem" -max_total_time="$SECONDS_EACH" \
            -artifact_prefix="$TEST/$name-" -timeout=10 \
            "$TEST/corpus/$name" "${seeds[@]}" >"$logs/$stem.log" 2>&1
        status=$?
        if [ $status = 0 ]; then
            pass
            report "tests/fuzz/$stem" "$(tail -n 1 "$logs/$stem.log")"
        else
            fail "tests/fuzz/$stem: $(why $status); input below $TEST/$name-*"
            tail -n 60 "$logs/$stem.log" | sed 's/^/    /'
        fi
    done
}

# ---- the simulator -----------------------------------------------------------

sim_why() {
    case $1 in
    3) echo "safety violated" ;;
    4) echo "liveness violated" ;;
    *) why "$1" ;;
    esac
}

run_sim() {
    local status
    [ -e tests/sim/sim.c ] || { none simulator tests/sim/sim.c; return; }
    # shellcheck disable=SC2086 # SIM_ARGS is a list
    limited $SIM_SECONDS "$TEST/tests/sim/sim" $SIM_ARGS 2>&1 |
        tee "$logs/sim.log"
    status=${PIPESTATUS[0]}
    if [ "$status" != 0 ]; then
        fail "tests/sim: $(sim_why "$status")"
    elif [ ! -s "$logs/sim.log" ]; then
        fail "tests/sim: said nothing"
    else
        pass
        report tests/sim "$(tail -n 1 "$logs/sim.log")"
    fi
}

# Each rule of ring/rule.h off: a history must break a promise, those of
# tests/mutants.txt first. What is listed there as beyond proof is not tried.
run_mutants() {
    local status words found missing log=$logs/mutants.log
    [ -e tests/sim/sim.c ] || { none simulator tests/sim/sim.c; return; }
    # shellcheck disable=SC2086 # MUTANT_ARGS is a list
    "$TEST/tests/sim/sim" --mutants tests/mutants.txt $MUTANT_ARGS 2>&1 |
        tee "$log"
    status=${PIPESTATUS[0]}
    words=$(grep -E '^[0-9]+ rules off one by one' "$log")
    found=$(sed -E 's/.*, ([0-9]+) found,.*/\1/' <<<"$words")
    missing=$(sed -E 's/.* found, ([0-9]+) not,.*/\1/' <<<"$words")
    pass "${found:-0}"
    if [ "${missing:-0}" != 0 ]; then
        fail "mutants: $words"
        failed=$((failed + missing - 1))
    elif [ "$status" != 0 ] || [ "${found:-0}" = 0 ]; then
        fail "mutants: $(why "$status")"
    else
        report mutants "$words"
    fi
}

# ---- real processes ----------------------------------------------------------

# Scripts wait more than they work: two at a time, but for those with a line
# "# alone: WHY". Each has ports of its own: no other takes one between its
# choice and its use.
run_script() { # run_script SCRIPT NUMBER
    local log=$logs/$(basename "$1") begun=$SECONDS limit pid status
    case $1 in
    */long_*.sh) limit=$LONG_SECONDS ;;
    *) limit=$CLUSTER_SECONDS ;;
    esac
    PORTS_FROM=$((20000 + $2 % 24 * 490)) TMPDIR=$scratch \
        timeout -k 5 $limit "$1" </dev/null >"$log.log" 2>&1 &
    pid=$!
    trap 'kill $pid; wait $pid; exit 130' INT TERM
    wait $pid
    status=$?
    trap 'exit 130' INT TERM
    echo "$status $((SECONDS - begun))" >"$log.status.new"
    mv "$log.status.new" "$log.status" # it is over when this is there
}

judge_script() {
    local script=$1 log=$logs/$(basename "$1") status=137 seconds=0 good bad
    [ ! -e "$log.status" ] || read -r status seconds <"$log.status"
    cat "$log.log"
    good=$(grep -c '^ok ' "$log.log")
    bad=$(grep -c '^not ok ' "$log.log")
    pass "$good"
    failed=$((failed + bad))
    if [ "$status" = 0 ] && [ "$bad" = 0 ] && [ "$good" != 0 ]; then
        report "$script" "$good passed, $seconds s"
    elif [ "$bad" != 0 ]; then
        printf 'not ok  %s: %s failed, %s s\n' "$script" "$bad" "$seconds"
    elif [ "$status" != 0 ]; then
        fail "$script: $(why "$status")"
    else
        fail "$script: ran no test"
    fi
}

run_scripts() { # run_scripts FOLDER
    local script number=0 together=() running=() i any
    for script in "$1"/*.sh; do
        case $script in
        */lib*.sh) continue ;; # sourced by the others
        */long_*.sh) [ -n "$FULL" ] || continue ;;
        esac
        number=$((number + 1))
        if grep -q '^# alone:' "$script"; then
            run_script "$script" $number
            judge_script "$script"
        else
            together+=("$script")
        fi
    done
    [ $number != 0 ] || none "process tests" "$1/*.sh"
    for script in "${together[@]}" ''; do
        while [ ${#running[@]} -ge $SCRIPT_JOBS ] ||
            { [ -z "$script" ] && [ ${#running[@]} != 0 ]; }; do
            any=yes
            wait -n || [ $? != 127 ] || any=no # no child is left
            for i in "${!running[@]}"; do
                [ -e "$logs/$(basename "${running[i]}").status" ] ||
                    [ $any = no ] || continue
                judge_script "${running[i]}"
                unset "running[i]"
            done
        done
        [ -n "$script" ] || break
        number=$((number + 1))
        rm -f "$logs/$(basename "$script").status"
        run_script "$script" $number &
        running+=("$script")
    done
}

for kind in "$@"; do
    case $kind in
    unit) run_cmocka_programs unit tests/unit/test_*.c ;;
    cases) run_cases ;;
    fuzz) run_fuzz ;;
    fuzz-new) run_fuzz_new ;;
    sim) run_sim ;;
    cluster) run_scripts tests/cluster ;;
    power) run_scripts tests/power ;;
    mutants) run_mutants ;;
    *) echo "run.sh: no kind of test is called $kind" >&2; exit 2 ;;
    esac
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
