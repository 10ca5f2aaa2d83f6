#!/usr/bin/env bash
# lint.sh - the rules of STYLE.md that a machine can check.
#
# Each check prints "FILE: what is wrong" for every offence; any of them makes
# lint fail, but those that begin with "warning" only ask for a second look.
# `make lint` builds the production objects first ($OBJECTS), because what an
# object exports and calls is asked of nm, not guessed from the source.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
shopt -s nullglob lastpipe # lastpipe: `... | offend` counts in this shell
export LC_ALL=C

: "${OBJECTS:=build/release}"
FUNCTION_LINES=70 # style's limit; past it a warning
FUNCTION_LINES_MAX=100
FILE_LINES=900
# Written in two halves, so that this line is no offence.
UNFINISHED="TO""DO|FIX""ME|XX""X|HA""CK"

rooms=(ring storage net node tools)
dirs=("${rooms[@]}" tests/unit tests/cases tests/sim tests/cluster tests/power
    tests/fuzz)
files=() headers=()
for dir in "${dirs[@]}"; do
    files+=("$dir"/*.c "$dir"/*.h)
    headers+=("$dir"/*.h)
done

offences=0 warnings=0
offence() { offences=$((offences + 1)); echo "$*"; }
warning() { warnings=$((warnings + 1)); echo "warning: $*"; }
# offend WORDS: an offence for each "FILE..." line of stdin.
offend() {
    local line
    while IFS= read -r line; do
        offence "$line: $1"
    done
}

# ---- form --------------------------------------------------------------------

check_format() {
    local out
    out=$(clang-format --dry-run -Werror "${files[@]}" 2>&1) && return
    while IFS= read -r line; do
        offence "$line"
    done < <(grep -oE '^[^ ]+: error: .*formatted' <<<"$out" |
        cut -d: -f1 | sort | uniq -c |
        awk '{ print $2 ": " $1 " places that clang-format would change" }')
    # Whatever else it says is about clang-format itself.
    grep -q 'formatted' <<<"$out" || offence "clang-format: $out"
}

check_guards() {
    local header guard
    for header in "${headers[@]}"; do
        guard=${header^^}
        guard=${guard//[\/.-]/_}
        grep -qx "#ifndef $guard" "$header" &&
            grep -qx "#define $guard" "$header" ||
            offence "$header: its guard is not $guard"
    done
}

# In production and with the switches of the rules alike.
check_headers_alone() {
    local header rules out
    for header in "${headers[@]}"; do
        for rules in -UEDDY_RULES -DEDDY_RULES; do
            out=$(printf '#include "%s"\ntypedef int alone;\n' "$header" |
                gcc -std=c17 -D_POSIX_C_SOURCE=200809L -Wall -Wextra \
                    -Wpedantic -Werror -I. $rules -fsyntax-only -x c - 2>&1)
            [ -z "$out" ] && continue
            offence "$header: does not compile alone"
            grep -m 3 -E 'error|warning' <<<"$out" | sed 's/^/    /'
            break
        done
    done
}

check_unfinished() {
    grep -nwE "$UNFINISHED" "${files[@]}" tests/*.sh tests/*/*.sh tools/*.sh \
        Makefile .ci/run ./*.md ./*/*.md | cut -d: -f1,2 |
        offend "unfinished work belongs in an issue, not in main"
}

# The atlas names every kind of fault that the simulator has.
check_atlas() {
    local kind
    while read -r kind; do
        grep -qw "$kind" tests/sim/FAULTS.md ||
            offence "tests/sim/FAULTS.md: $kind is missing"
    done < <(sed -nE 's/^    X\(([A-Z_]+),.*/\1/p' tests/sim/fault_kinds.h)
}

# A function's body lies between a { and a } in the first column.
function_lengths() {
    awk -v OFS='\t' '
        /^[A-Za-z_].*\(/ { head = $0; sub(/\(.*/, "", head)
                           sub(/.*[ *]/, "", head); name = head }
        /^\{$/           { begun = FNR }
        /^\}$/           { if (begun) print FILENAME, name, FNR - begun - 1
                           begun = 0 }' "$@"
}

check_lengths() {
    local file name lines
    while IFS=$'\t' read -r file name lines; do
        if [ "$lines" -gt $FUNCTION_LINES_MAX ]; then
            offence "$file: $name has $lines lines, over $FUNCTION_LINES_MAX"
        elif [ "$lines" -gt $FUNCTION_LINES ]; then
            warning "$file: $name has $lines lines, over $FUNCTION_LINES"
        fi
    done < <(function_lengths "${files[@]}")
    for file in "${files[@]}"; do
        lines=$(wc -l <"$file")
        [ "$lines" -gt $FILE_LINES ] || continue
        sed '/\*\//q' "$file" | grep -qw one ||
            warning "$file: $lines lines; its head must say why it is one thing"
    done
}

# ---- rooms -------------------------------------------------------------------

# may_include FILE: the rooms whose headers it may include.
may_include() {
    case $1 in
    ring/*) echo ring ;;
    storage/*) echo ring storage ;;
    net/*) echo ring net ;;
    node/*) echo ring storage net node ;;
    tools/dump*) echo ring storage net tools ;;
    tools/*) echo ring net tools ;;
    tests/*) echo ring storage net node tools tests ;;
    esac
}

check_rooms() {
    local file line path allowed
    while IFS=: read -r file line path; do
        read -r -a allowed < <(may_include "$file")
        if [ ! -f "$path" ]; then
            offence "$file:$line: $path is not a path from the root"
        elif [[ " ${allowed[*]} " != *" ${path%%/*} "* ]]; then
            offence "$file:$line: ${file%%/*} may not include $path"
        fi
    done < <(grep -nE '^ *# *include +"' "${files[@]}" |
        sed -nE 's/^([^:]+):([0-9]+):.*"([^"]+)".*/\1:\2:\3/p')
}

# includes HEADER FILE...: "FILE:LINE" of each include of the system header.
includes() {
    local header=$1
    shift
    grep -nE "^ *# *include +<$header>" /dev/null "$@" | cut -d: -f1,2
}

outside() { # outside ROOM: all files but the room's
    printf '%s\n' "${files[@]}" | grep -v "^$1/"
}

check_libraries() {
    local not_storage not_net
    mapfile -t not_storage < <(outside storage)
    mapfile -t not_net < <(outside net)
    includes 'lmdb\.h' "${not_storage[@]}" | offend "lmdb.h is storage's alone"
    includes 'zmq(_utils)?\.h' "${not_net[@]}" | offend "zmq.h is net's alone"
}

# What ring/ includes: nothing with which it could do I/O, read a clock or
# draw a number of its own. base.c formats text and reports a failed ASSERT.
PURE='(assert|inttypes|limits|stdalign|stdarg|stdbool|stddef|stdint|stdlib'
PURE+='|stdnoreturn|string|xxhash)\.h'
# And what it calls, whatever header it came from.
IMPURE='(printf|puts|putchar|fprintf|vfprintf|fputs|fwrite|fopen|open|read'
IMPURE+='|write|close|getenv|time|clock|clock_gettime|gettimeofday|rand|srand'
IMPURE+='|random|rand_r|drand48|getrandom|arc4random|randombytes.*|sleep'
IMPURE+='|usleep|nanosleep|pthread_.*|syslog|exit|system|signal|sigaction)'

check_ring_is_pure() {
    local object symbols
    grep -nE '^ *# *include +<' ring/*.[ch] | grep -vE "<$PURE>" |
        grep -v '^ring/base\.c:.*<stdio\.h>' | cut -d: -f1,2 |
        offend "ring is pure: this header is not"
    grep -n '_GNU_SOURCE' ring/*.[ch] | cut -d: -f1,2 |
        offend "ring needs nothing of Linux"
    for object in "$OBJECTS"/ring/*.o; do
        [ -f "ring/$(basename "${object%.o}").c" ] || continue # source is gone
        case $object in */base.o) continue ;; esac
        symbols=$(nm -u "$object" | awk '{ print $2 }' |
            grep -xE "(__)?$IMPURE(_chk)?")
        [ -z "$symbols" ] ||
            offence "ring/$(basename "${object%.o}").c: ring is pure:" \
                "it calls" $symbols
    done
}

# ---- names -------------------------------------------------------------------

# The pattern of what a file may export: its stem up to the first '_' as the
# prefix. base.c and its like are no module but a handful of small ones.
exports_of() {
    local stem
    stem=$(basename "$1" .c)
    case $1 in
    ring/base.c)
        echo 'assert_failed|(err|span|mem|buf|id|epoch|rng|map)_.*|hash(64|128)'
        ;;
    ring/codec.c) echo '(enc|dec)_.*|(put|get)_be(16|32|64)' ;;
    ring/entry.c) echo '(entry|command|config|item)_.*' ;;
    ring/rows.c) echo '(row|run|moved|garbage|image)_.*' ;;
    node/main.c | tools/eddy.c | tools/bench_*.c) echo main ;;
    *) echo "${stem%%_*}(_.*)?" ;;
    esac
}

check_exports() {
    local room source object pattern name
    for room in "${rooms[@]}"; do
        for source in "$room"/*.c; do
            object=$OBJECTS/${source%.c}.o
            [ -f "$object" ] || { offence "$source: is not built"; continue; }
            pattern=$(exports_of "$source")
            while read -r name; do
                offence "$source: exports $name, not of its module"
            done < <(nm -g --defined-only "$object" |
                awk 'NF == 3 { print $3 }' | grep -vxE "$pattern")
        done
    done
}

check_format
check_guards
check_headers_alone
check_unfinished
check_atlas
check_lengths
check_rooms
check_libraries
check_ring_is_pure
check_exports

echo "lint: ${#files[@]} files, $offences offences, $warnings warnings"
[ $offences = 0 ]
