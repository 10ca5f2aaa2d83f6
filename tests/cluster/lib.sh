# lib.sh - clusters of real processes, for the scripts beside it (bash).
#
#   . "$(dirname "$0")/lib.sh"
#   begin 4                       a folder, room for nodes 1 to 4
#   found; enter 2; run 1; run 2  eddyd init, join, run
#   cluster 3                     all that for three, and wait until healthy
#   check NAME COMMAND...         "ok NAME" or "not ok NAME"
#   find_files 20 1M 6M; put_files 20; same_files    real files, there and back
#   make_streams 64 1 2 3; start_load; stop_load; verify NAME   a load
#   finish
#
# Node i is named n$i; its folder is $W/n$i, its addresses ${CLIENT[i]} and
# ${PEER[i]}, its process ${PID[i]}, its words $W/n$i.out and $W/n$i.log.
# Only processes started here are ever signalled, by id; what is left of them
# ends with the script. If a test failed, or KEEP is set, the logs are kept and
# said where.
set -u -o pipefail
export LC_ALL=C

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${EDDY:=$ROOT/build/release/eddy}" "${EDDYD:=$ROOT/build/release/eddyd}"
: "${CLUSTER_BIN:=$(dirname "$EDDYD")/tests/cluster}"
DOOR=$CLUSTER_BIN/door
RECORDER=$CLUSTER_BIN/recorder
SHIM=$CLUSTER_BIN/shim.so
: "${PARTITIONS:=256}" # of the clusters founded: its default

# A sanitizer makes all slower, and needs the address space for itself.
case ${SAN:-} in
address) SLOW=2 ;;
thread) SLOW=4 && export EDDYD_MAP_SIZE=8G ;;
*) SLOW=1 ;;
esac

SCRIPT=$(basename "$0" .sh)
good=0 bad=0
declare -a PID=() CLIENT=() PEER=() OTHERS=()

# ---- results -----------------------------------------------------------------

ok() { good=$((good + 1)); echo "ok $SCRIPT: $*"; }
not_ok() { bad=$((bad + 1)); echo "not ok $SCRIPT: $*"; }
say() { echo "   $SCRIPT: $*"; }

check() { # check NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$W/check" 2>&1; then
        ok "$name"
    else
        not_ok "$name: exit $?: $(tail -n 3 "$W/check" | tr '\n' ' ')"
    fi
}

# refused NAME CODE PATTERN COMMAND...: the command fails with this exit code
# (or one of several: "69|78") and says something that matches.
refused() {
    local name=$1 code=$2 pattern=$3 status said
    shift 3
    [ "$1" != eddy ] || set -- "$EDDY" "${@:2}" --key "$ADMIN"
    said=$(timeout -k 1 40 "$@" 2>&1 </dev/null)
    status=$?
    said=$(tr '\n' ' ' <<<"$said")
    if [[ ! $status =~ ^($code)$ ]]; then
        not_ok "$name: exit $status, not $code: ${said:0:300}"
    elif ! grep -qiE -- "$pattern" <<<"$said"; then
        not_ok "$name: does not say /$pattern/: ${said:0:300}"
    else
        ok "$name (exit $status: ${said:0:${WORDS:-110}})"
    fi
}

now_ms() { # since 1970
    local t=$EPOCHREALTIME
    echo $((${t/./} / 1000))
}

# within SECONDS COMMAND...: again and again until it succeeds.
within() {
    local until=$(($(now_ms) + $1 * SLOW * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt $until ] || return 1
        sleep 0.1
    done
}

# ---- a script's beginning and end --------------------------------------------

begin() { # begin NODES
    W=$(mktemp -d "${TMPDIR:-/tmp}/eddy-$SCRIPT.XXXXXX") || exit 1
    trap end EXIT
    trap 'exit 130' INT TERM
    local program
    for program in "$EDDYD" "$EDDY" "$DOOR"; do
        [ -x "$program" ] || { not_ok "$program is not built"; exit 1; }
    done
    unset EDDY_NODES EDDY_KEY
    export HOME=$W # no key of the user's is found there
    choose_ports "$1"
    cd "$W" || exit 1
}

end() {
    local status=$? pid kept
    trap - EXIT
    for pid in "${PID[@]}" "${OTHERS[@]}"; do
        [ -z "$pid" ] || kill -CONT "$pid" 2>/dev/null
        [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
    done
    wait 2>/dev/null
    declare -F at_end >/dev/null && at_end
    if [ $bad != 0 ] || [ -n "${KEEP:-}" ]; then
        kept=$ROOT/build/cluster/$SCRIPT
        rm -rf "$kept"
        mkdir -p "$kept"
        cp "$W"/*.log "$W"/*.out "$W"/*.err "$kept" 2>/dev/null
        say "logs are in $kept"
    fi
    cd / && rm -rf "$W"
    [ $bad = 0 ] || status=1
    exit $status
}

finish() { # the traps do the rest
    [ $bad = 0 ]
    exit
}

in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below 32768 (above, the kernel hands them out), and begun at random: scripts
# that somebody else runs at this time look, too. run.sh gives each of its own
# scripts PORTS_FROM, and 490 ports from there.
choose_ports() { # choose_ports NODES
    local i port tries=0 from=${PORTS_FROM:-20000}
    port=$((from + RANDOM % 220 * 2))
    for ((i = 1; i <= $1; i++)); do
        while in_use $port || in_use $((port + 1)); do
            tries=$((tries + 1))
            [ $tries -lt 500 ] || { not_ok "no free ports"; exit 1; }
            port=$((port + 2))
        done
        CLIENT[i]=127.0.0.1:$port PEER[i]=127.0.0.1:$((port + 1))
        port=$((port + 2))
        [ $port -lt $((from + 490)) ] || port=$from
    done
}

# ---- nodes -------------------------------------------------------------------

found() { # found [OPTION...]: the first node's folder
    "$EDDYD" init --data "$W/n1" --name n1 --listen "${CLIENT[1]}" "$@" \
        >"$W/init.out" 2>&1 || { not_ok "init: $(cat "$W/init.out")"; exit 1; }
    ADMIN=$W/n1/keys/admin.key
    JOIN=$W/n1/keys/join.key
}

enter() { # enter I [OPTION...]: a folder for node I
    local i=$1
    shift
    "$EDDYD" join --data "$W/n$i" --name "n$i" --listen "${CLIENT[i]}" \
        --to "${CLIENT[1]}" --key "$JOIN" "$@" >"$W/join$i.out" 2>&1 ||
        { not_ok "join of n$i: $(cat "$W/join$i.out")"; exit 1; }
}

# run I [COMMAND...]: eddyd run, below a command if one is given (env, strace).
run() {
    local i=$1
    shift
    [ -z "${PID[i]:-}" ] || OTHERS+=("${PID[i]}") # it did not end when asked
    : >"$W/n$i.out"
    "$@" "$EDDYD" run --data "$W/n$i" >>"$W/n$i.out" 2>>"$W/n$i.log" &
    PID[i]=$!
}

is_ready() { grep -q '^ready ' "$W/n$1.out"; }
is_alive() { kill -0 "${PID[$1]}" 2>/dev/null; }

# kill_nodes I...: all at once with -9 (or what stands for it).
kill_nodes() {
    local i pids=()
    for i in "$@"; do
        pids+=("${PID[i]}")
    done
    kill "-${KILL:-9}" "${pids[@]}"
    for i in "$@"; do
        wait "${PID[i]}" 2>/dev/null
        PID[i]=''
    done
}

# exit_of I SECONDS: waits for its end; the status is its own, 124: it runs.
exit_of() {
    local pid=${PID[$1]} until=$(($(now_ms) + $2 * SLOW * 1000))
    while kill -0 "$pid" 2>/dev/null; do
        [ "$(now_ms)" -lt $until ] || return 124
        sleep 0.05
    done
    PID[$1]=''
    wait "$pid" 2>/dev/null
}

stop_node() { # stop_node I: gently
    kill -TERM "${PID[$1]}"
    exit_of "$1" 20
}

# status I: the node's view of itself becomes variables (see door.c).
status() {
    local line
    line=$("$DOOR" status "$ADMIN" "$W/n$1" "${CLIENT[$1]}" 2>/dev/null) ||
        return 1
    eval "$line"
}
status_of() { # status_of I VARIABLE: one of them
    status "$1" && echo "${!2}"
}
id_of() { "$DOOR" hello "$ADMIN" "$W/n$1" "${CLIENT[$1]}"; }

# eddy, as the administrator. Where the nodes are, is in the key.
eddy() { "$EDDY" "$@" --key "$ADMIN"; }
# The nodes that a client is told of when n1 may be down.
all_nodes() {
    local i
    for i in "${!CLIENT[@]}"; do
        printf -- '--node\n%s\n' "${CLIENT[i]}"
    done
}

# leads COPIES I: how many partitions node I leads, ready, with so many voters,
# no learner, and nobody behind.
leads() {
    "$DOOR" groups "$ADMIN" "$W/n$2" "${CLIENT[$2]}" 2>/dev/null |
        awk -v copies="$1" '
            $1 != 0 && $2 == "leader" && $3 == "ready" && $4 == copies &&
                $5 == 0 && $6 == 0 { n++ }
            END { print n + 0 }'
}

# is_whole COPIES I...: these nodes lead all partitions, none is behind.
# is_healthy COPIES I...: and each of them leads its share, one more or less.
is_whole() {
    local copies=$1 i total=0 least=$PARTITIONS most=0 n
    shift
    for i in "$@"; do
        n=$(leads "$copies" "$i")
        total=$((total + n))
        least=$((n < least ? n : least))
        most=$((n > most ? n : most))
    done
    echo $((most - least))
    [ $total = "$PARTITIONS" ]
}
is_healthy() {
    local spread
    spread=$(is_whole "$@") && [ "$spread" -le 1 ]
}

cluster() { # cluster N [OPTION...]: N nodes, healthy
    local n=$1 i
    shift
    found "$@"
    run 1
    within 10 is_ready 1 || { not_ok "n1 is not ready"; exit 1; }
    for ((i = 2; i <= n; i++)); do
        enter "$i"
    done
    for ((i = 2; i <= n; i++)); do
        run "$i"
    done
    # shellcheck disable=SC2046
    within 30 is_healthy $((n < 3 ? n : 3)) $(seq "$n") ||
        { not_ok "the cluster does not form"; exit 1; }
}

# ---- the ring, as eddy tells it -----------------------------------------------

# Which members `ring members` says to be out: their names.
out_members() { eddy ring members -q | awk '/^.X/ { print $3 }' | xargs; }
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
has_share() { [ "$(keeps "$1")" -gt 0 ]; }

# ---- real files ----------------------------------------------------------------

# find_files MIB LEAST MOST: FILES are files of this machine, so many MiB of them
# if it has as many, of LEAST to MOST each (1M, 64M).
find_files() {
    mapfile -t FILES < <(
        find /usr/bin /usr/lib -xdev -type f -size "+$2" -size "-$3" \
            -printf '%p %s\n' | LC_ALL=C sort |
            awk -v left=$(($1 * 1048576)) 'left > 0 { print $1; left -= $2 }')
    mapfile -t SUMS < <(sha256sum "${FILES[@]}" | cut -d' ' -f1)
    STORED=0 STORED_BYTES=0
}
# put_files MIB: so many MiB more of them, in streams file/0, file/1 ...; when
# all are stored they are stored again, under other names.
put_files() {
    local until=$((STORED_BYTES + $1 * 1048576)) file
    while [ $STORED_BYTES -lt $until ]; do
        file=${FILES[STORED % ${#FILES[@]}]}
        eddy put "file/$STORED" "$file" -q || return 1
        STORED_BYTES=$((STORED_BYTES + $(stat -Lc %s "$file")))
        STORED=$((STORED + 1))
    done
}
# Every stream has the bytes of its file.
same_files() {
    local i sum
    for ((i = 0; i < STORED; i++)); do
        sum=$(eddy get "file/$i" -q | sha256sum) &&
            [ "${sum%% *}" = "${SUMS[i % ${#FILES[@]}]}" ] ||
            { echo "file/$i is not ${FILES[i % ${#FILES[@]}]}"; return 1; }
    done
    [ $STORED -gt 0 ]
}

# ---- a load --------------------------------------------------------------------

# make_streams COUNT I...: for the load, whose clients know nodes I to begin with.
make_streams() {
    local i
    STREAMS=$1 NODES='' LIFE=0 LOADER=''
    shift
    for i in "$@"; do
        NODES+=${NODES:+,}${CLIENT[i]}
    done
    mkdir -p acks
    "$RECORDER" create "$ADMIN" "$NODES" "$STREAMS" >streams.out
}
acks() { cat acks/acks.* 2>/dev/null | wc -l; } # appends acknowledged so far
has_acks() { [ "$(acks)" -ge "$1" ]; }
# start_load [WRITERS [MS]]: appends until stop_load; as fast as it can, or with
# a rest of so many ms.
start_load() {
    LIFE=$((LIFE + 1))
    "$RECORDER" load "$ADMIN" "$NODES" "$STREAMS" acks $LIFE "$@" \
        2>>recorder.log &
    LOADER=$!
    OTHERS+=("$LOADER")
}
stop_load() { # stop_load [SIGNAL]
    kill "${1:--TERM}" "$LOADER"
    wait "$LOADER" 2>/dev/null
    LOADER=''
}
# verify NAME: what was acknowledged is there, nothing twice, lost or changed.
verify() {
    local words
    if words=$("$RECORDER" verify "$ADMIN" "$NODES" "$STREAMS" acks 2>verify.log); then
        ok "$1: $words"
    else
        not_ok "$1: $words $(head -n 3 verify.log | tr '\n' ' ')"
    fi
}

# took SINCE_US UNTIL_US: reads lines "WHEN_US TOOK_US". Of those that ended
# then, how many there were, the median, the 99th of 100 and the longest, in ms.
took() {
    awk -v since="$1" -v until="$2" '$1 >= since && $1 < until { print $2 }' |
        sort -n | awk '{ v[NR] = $1 / 1000 } END {
            if (NR == 0) { print "0 none none none"; exit }
            printf "%d %.1f %.1f %.1f\n", NR, v[int((NR + 1) / 2)],
                v[int(NR * 0.99 + 0.99)], v[NR] }'
}
# The same of the load's appends.
load_took() { cat acks/acks.* | awk 'NF == 6 { print $5, $6 }' | took "$1" "$2"; }
