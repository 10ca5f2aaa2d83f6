#!/usr/bin/env bash
# reload.sh - SIGHUP: eddy.conf and the key files are read again while a node
# serves; what is bad changes nothing.
. "$(dirname "$0")/lib.sh"

begin 2
found --replication 1
run 1
within 10 is_ready 1 || not_ok "n1 is not ready"
within 10 eddy stream create kept -q || not_ok "no stream can be made"
CONF=n1/eddy.conf
cp $CONF good.conf

# hup: and the log's new lines, once it has said what came of it, in hup.log.
hup() {
    local lines
    lines=$(wc -l <n1.log)
    kill -HUP "${PID[1]}"
    within 5 said_since "$lines" || return 1
    tail -n "+$((lines + 1))" n1.log >hup.log
}
said_since() { tail -n "+$(($1 + 1))" n1.log | grep -qE 'read again|next start'; }
# says PATTERN: a hup with that among its lines; the node serves on.
says() { hup && grep -qE -- "$1" hup.log && eddy stream info kept; }
set_conf() { # set_conf KEY VALUE
    sed "s|^#* *$1 = .*|$1 = $2|" good.conf >$CONF
    grep -q "^$1 = $2\$" $CONF || not_ok "eddy.conf has no line for $1"
}

check "nothing changed: read again all the same" says 'log-level info, log-format text'

set_conf log-format json
check "the log's format is another at once" \
    says '^{"time":.*log-level info, log-format json'
set_conf log-level warn
check "so is its level, and that is still said" says 'log-level warn'
set_conf log-level loud
check "a value that makes no sense is told" says "not 'loud'"
echo 'listn = 127.0.0.1:1' >>$CONF
check "so is a line that makes no sense" says 'line [0-9]+: not'
rm $CONF
mkdir $CONF
check "and a file that cannot be read" says 'eddy.conf|next start'
rmdir $CONF
cp good.conf $CONF
check "mended, it is read" says 'log-level info'
set_conf listen "${CLIENT[2]}"
check "an address waits for a restart, and that is said" \
    says "listen = ${CLIENT[2]} needs a restart"
set_conf zone attic
check "a zone is the ring's to change" says 'zone = attic needs eddy ring plan'
cp good.conf $CONF

enter 2
chmod 644 n1/keys/node.key
check "a key open to others is told" says 'chmod 600'
chmod 600 n1/keys/node.key
cp n1/keys/node.key node.key
cp n1/keys/admin.key n1/keys/node.key
check "another key than the ring knows is told" says 'another key'
cp node.key n1/keys/node.key
echo garbage >n1/keys/join.key
check "so is a damaged join.key" says 'join.key'
rm n1/keys/join.key
check "a join.key that was taken away is not missed" says 'log-level info'
# It is asking to be let in, and nobody answers.
stop_node 1
run 2
within 5 grep -q 'asking the ring' n2.log || not_ok "n2 asks nobody"
kill -HUP "${PID[2]}"
run 1
check "a node that waits to be let in does not die of it" within 20 is_ready 2
check "and obeys once it runs" within 5 grep -q 'read again' n2.log

stop_node 1
check "SIGTERM still stops it with exit 0" test $? = 0
finish
