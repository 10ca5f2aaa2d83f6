#!/usr/bin/env bash
# badinput.sh - what people and strangers get wrong: each a clear error that
# names the remedy, the right exit code, nothing lost, no crash.
. "$(dirname "$0")/lib.sh"

begin 4
cluster 3
LISTEN=${CLIENT[4]} # nobody is there
head -c 2000000 /dev/urandom >data
eddy put kept data --segment 64K -q >/dev/null || not_ok "put"

# ---- arguments ---------------------------------------------------------------

refused "eddyd without a command" 2 'init, join, run' "$EDDYD"
refused "eddyd with an unknown command" 2 "'fly' is no command.*--help" "$EDDYD" fly
refused "eddyd with an unknown option" 2 'not an option.*--help' \
    "$EDDYD" init --data x --colour red
refused "an option without its value" 2 'needs a value' "$EDDYD" init --data
refused "a word where an option belongs" 2 'is no option' "$EDDYD" run n1
refused "an address that is none" 2 'HOST:PORT|listen' \
    "$EDDYD" init --data x --listen nowhere
refused "a port above 65535" 2 'listen' \
    "$EDDYD" init --data x --listen 127.0.0.1:70000
refused "partitions that are no power of two" 2 'partitions' \
    "$EDDYD" init --data x --listen "$LISTEN" --partitions 100
refused "no copies" 2 'replication' \
    "$EDDYD" init --data x --listen "$LISTEN" --replication 0
refused "an out-after of a moment" 2 'out-after 0s.*--help' \
    "$EDDYD" init --data x --listen "$LISTEN" --out-after 0s
refused "a weight of nothing" 2 'weight' \
    "$EDDYD" init --data x --listen "$LISTEN" --weight 0
refused "a log level that is none" 2 'log-level' \
    "$EDDYD" run --data n1 --log-level loud
refused "a config file that is not there" 2 'No such file' \
    "$EDDYD" run --data n1 --config nowhere.conf
echo 'colour = red' >bad.conf
refused "a config file with an unknown key" 2 'bad.conf, line 1' \
    "$EDDYD" run --data n1 --config bad.conf
check "none of these has left a folder" test ! -e x
refused "join without a key" 2 '--key FILE is missing.*join.key' \
    "$EDDYD" join --data x --to "${CLIENT[1]}" --listen "$LISTEN"

refused "eddy with an unknown command" 2 'help' "$EDDY" fly
refused "eddy put without a stream" 2 'argument is missing.*--help' "$EDDY" put
refused "an unknown option of put" 2 'help|option' eddy put s data --colour red
refused "a segment size of nothing" 2 'segment' eddy put s data --segment 0
refused "a segment over the limit" 2 'segment.*1M|1M|1 MiB' eddy put s data --segment 2M
refused "a line longer than a segment" 2 'segment' \
    eddy put s <(head -c 5000 /dev/zero | tr '\0' x) --lines --segment 1K
refused "attributes over the limit" 2 'attr' \
    eddy put s data --attr "$(head -c 1100 /dev/zero | tr '\0' a)"
refused "a file that is not there" '1|2' 'nowhere' eddy put s nowhere
refused "a folder for a file" '1|2' 'folder' eddy put s .
refused "a name over the limit" 2 '255' \
    eddy put "$(head -c 300 /dev/zero | tr '\0' s)" data
refused "a range that is none" 2 'range|FROM|SEQ' eddy get kept 9..x
refused "an out-after of a millisecond" 2 'out-after=1s to 30d' \
    eddy ring set out-after=1ms
refused "no repair at all" 2 'repair.rate=64K to 1024M' \
    eddy ring set repair.rate=0
refused "a timeout that is none" 2 'timeout' eddy get kept --timeout soon

# ---- what is not there -------------------------------------------------------

refused "get of an unknown stream" 7 "no stream 'nothing'.*stream list" eddy get nothing
refused "info of an unknown stream" 7 "no stream 'nothing'.*stream list" \
    eddy stream info nothing
refused "a segment behind the end" 7 'segments 0..30 only' eddy get kept 999999
refused "no node at this address" 4 'no node answered.*eddyd' \
    eddy get kept --node "$LISTEN" --timeout 1s

# ---- folders and ports -------------------------------------------------------

mkdir empty used
chmod 700 empty used
echo mine >used/letter
refused "run on an empty folder" 78 'empty.*eddyd (init|join)' "$EDDYD" run --data empty
refused "run on no folder" 78 'no such folder.*eddyd init' "$EDDYD" run --data nowhere
refused "run on another's folder" 78 'no data folder' "$EDDYD" run --data used
refused "init into a used folder" 78 'something in this folder.*choose another' \
    "$EDDYD" init --data used --listen "$LISTEN"
refused "init over a node" 78 'something in this folder' \
    "$EDDYD" init --data n1 --listen "$LISTEN"
refused "init with a map that has no room" 2 'smaller --map-size' \
    "$EDDYD" init --data huge --listen "$LISTEN" --map-size 1000T
check "and with a smaller one it does" \
    "$EDDYD" init --data huge --listen "$LISTEN" --map-size 1G
refused "join into a used folder" 78 'something in this folder' \
    "$EDDYD" join --data used --to "${CLIENT[1]}" --key "$JOIN" --listen "$LISTEN"
check "what is in the used folder stays" grep -q mine used/letter
refused "run on a folder in use" 78 'another eddyd runs.*stop it' "$EDDYD" run --data n1
refused "run of a folder that others may enter" 78 'chmod 700' \
    bash -c "chmod 755 empty; exec '$EDDYD' run --data empty"

refused "an option given twice" 2 'twice' \
    eddy ring plan --drain n1 --drain n2
stop_node 3
refused "a client port in use" 69 'in use by another.*another port' \
    "$EDDYD" run --data n3 --listen "${CLIENT[1]}" --peer-listen "${PEER[3]}"
refused "a peer port in use" 69 'in use by another.*another port' \
    "$EDDYD" run --data n3 --peer-listen "${PEER[1]}"
"$EDDYD" join --data late --name late --to "${CLIENT[1]}" --key "$JOIN" \
    --listen "${CLIENT[1]}" >join-late.out
refused "a newcomer's port in use" 69 'in use by another' \
    "$EDDYD" run --data late
check "so the ring has not let it in" \
    test -z "$(eddy ring members | awk '$3 == "late"')"
check "its join printed a line for key files" \
    grep -qE "^  contact ${CLIENT[1]} .{40}\$" join-late.out
refused "an address of another machine" 69 'address|not' \
    "$EDDYD" run --data n3 --listen 192.0.2.1:7460 --peer-listen "${PEER[3]}"
cp n3/data.mdb whole.mdb
head -c 4096 /dev/urandom | dd of=n3/data.mdb conv=notrunc status=none
head -c 4096 /dev/urandom | dd of=n3/data.mdb bs=4096 seek=1 conv=notrunc status=none
refused "a store of garbage" 78 'n3' "$EDDYD" run --data n3
cp whole.mdb n3/data.mdb
rm -f n3/BAD
truncate -s 6000 n3/data.mdb
refused "a store cut short" 78 'n3' "$EDDYD" run --data n3
cp whole.mdb n3/data.mdb
rm -f n3/BAD

# ---- another cluster's -------------------------------------------------------

"$EDDYD" init --data other --name o1 --listen "$LISTEN" >other.out 2>&1
cp n3/keys/node.key good.key
cp other/keys/node.key n3/keys/node.key
refused "a node.key of another cluster" '77|78' 'cluster' "$EDDYD" run --data n3
cp other/data.mdb n3/data.mdb
cp good.key n3/keys/node.key
refused "a store of another cluster" '77|78' 'cluster' "$EDDYD" run --data n3
cp whole.mdb n3/data.mdb
refused "join with another cluster's key" 75 'no node answered.*--to.*join.key' \
    "$EDDYD" join --data x --to "${CLIENT[1]}" --key other/keys/join.key \
    --listen "$LISTEN"
refused "eddy with another cluster's key" '4|8' 'key' \
    "$EDDY" get kept --key other/keys/admin.key --node "${CLIENT[1]}" --timeout 3s

# ---- key files ---------------------------------------------------------------

# bad_key NAME PATTERN: n3/keys/node.key is so, for eddyd; and a copy for eddy.
bad_key() {
    refused "eddyd, a key file that is $1" 77 "$2" "$EDDYD" run --data n3
    cp -a n3/keys/node.key bad.key 2>/dev/null
    [ ! -d n3/keys/node.key ] || { rm -rf bad.key; mkdir bad.key; }
    [ -e n3/keys/node.key ] || rm -rf bad.key
    refused "eddy, a key file that is $1" 2 "$2" \
        "$EDDY" get kept --key bad.key --timeout 3s
    rm -rf bad.key
}
rm n3/keys/node.key
bad_key missing 'node.key|bad.key'
mkdir n3/keys/node.key
bad_key 'a folder' 'not a regular file|folder|directory'
rmdir n3/keys/node.key
(umask 077; head -c 60 good.key >n3/keys/node.key)
bad_key 'too short' 'line|cut short|missing'
(umask 077; : >n3/keys/node.key)
bad_key empty 'line|empty|eddy-key'
(umask 077; head -c 300 /dev/urandom >n3/keys/node.key)
bad_key garbage 'line|eddy-key'
cp good.key n3/keys/node.key
chmod 644 n3/keys/node.key
bad_key 'open to others' 'chmod 600'
chmod 600 n3/keys/node.key

run 3
check "with all mended n3 is back" within 5 is_ready 3
check "and good" within 20 is_whole 3 1 2 3

# ---- bytes of chance on the ports --------------------------------------------

# raw PORT BYTES...: as TCP, from a stranger; whatever comes back is dropped.
raw() {
    local port=${1#*:}
    shift
    (exec 3<>"/dev/tcp/127.0.0.1/$port" && "$@" >&3) 2>/dev/null
}
for port in "${CLIENT[1]}" "${PEER[1]}"; do
    for size in 1 10 64 100 1000 100000; do
        raw "$port" head -c $size /dev/urandom
    done
    raw "$port" printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
    # A ZMTP greeting cut short, one of NULL, and one that goes on in garbage.
    raw "$port" printf '\377\0\0\0\0\0\0\0\001\177\003'
    raw "$port" printf '\377\0\0\0\0\0\0\0\001\177\003\0NULL%060d' 0
    raw "$port" bash -c 'printf "\377\0\0\0\0\0\0\0\001\177\003\0CURVE"; \
        head -c 47 /dev/zero; head -c 5000 /dev/urandom'
done
for ((k = 0; k < 40; k++)); do # half-open ones stay for a while
    (exec 3<>"/dev/tcp/127.0.0.1/${CLIENT[1]#*:}" && sleep 3) 2>/dev/null &
    OTHERS+=("$!")
done
check "raw garbage on both ports: n1 serves" cmp data <(eddy get kept)

"$DOOR" garbage "$ADMIN" n1 "${CLIENT[1]}" 1 1000
"$DOOR" garbage n2/keys/node.key n1 "${PEER[1]}" 2 1000
check "1,000 garbage messages through each door, with good keys: n1 serves" \
    cmp data <(eddy get kept)
check "no process has died" eval 'is_alive 1 && is_alive 2 && is_alive 3'
check "all replicas are still good" within 10 is_whole 3 1 2 3
check "put goes on" eddy put after data --segment 64K -q
check "and get" cmp data <(eddy get after)
finish
