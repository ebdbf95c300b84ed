#!/bin/sh
# Runs the commands of the runbooks in storage/ledger/README.md in one shell: a node moves from its embedded Redis to
# another; a second node is added and retired, added again, killed, and its directory replayed; both are copied, and
# Redis, a directory, and all of it at once are restored. Each bill is compared with the one of before.
#
#   tests/runbooks.sh      some 60 seconds; uses build/tests/tollgate
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
name=runbooks
. "$root/tests/node.sh"

# section TITLE: the commands of a part of the paper. What one leaves behind is ended with the shell that runs them.
# shellcheck disable=SC2016 # the shell of the commands expands it
section() {
    awk -v title="### $1" '$0 == title { inside = 1; next } /^##/ { inside = 0 } inside && /^    / { print substr($0, 5) }' \
        "$root/storage/ledger/README.md" | sed '/&$/a processes="$! $processes"'
}

cd "$work"
export PATH="$root/build/tests:$PATH"
configuration() { # NODE STATE_DIR REDIS
    printf 'node: %s\nstate_dir: %s\nlisten: 127.0.0.1:0\nredis: %s\nmedia_root: %s\nwindows_max: 256\njournal_segment_bytes: 1MiB\n' "$1" "$2" "$3" "$media"
    echo 'issuers: [{id: shop, iss: shop, keys: keys/shop-private.jwks, prefixes: [/]}]'
}
configuration first state embedded >tollgate.yaml
configuration second second-state "unix:$work/redis.sock" >second.yaml
cat >redis.conf <<END
port 0
unixsocket $work/redis.sock
dir $work/redis
pidfile $work/redis.pid
appendonly yes
save ""
maxmemory-policy noeviction
daemonize yes
END
{
    cat <<'END'
processes=
finish() {
    for process in $processes; do
        kill "$process" 2>/dev/null && wait "$process" || true
    done
    redis-cli -s redis.sock SHUTDOWN NOSAVE 2>/dev/null || true
}
trap finish EXIT
trap 'exit 130' INT TERM
# hear LOG: a download for alice from the node that writes this log
hear() {
    port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' "$1")
    curl -sSf -o /dev/null "$(tollgate link sign --key keys/shop-private.jwks --issuer shop --account alice \
        --path /jingle.mp3 --expires-in 1h --origin "http://127.0.0.1:$port" 2>/dev/null)"
}
# bills FILE: what alice and bob have paid and used, in all and by file. A node posts what is asked for.
bills() {
    for account in shop/alice shop/bob; do
        tollgate usage "$account" --config second.yaml >/dev/null 2>&1 || true
        tollgate account show "$account" | grep -v -e reserved -e available
        tollgate usage "$account"
    done >"$1"
}
the_same() { # BEFORE
    bills now
    diff "$1" now >&2 || { echo "the bills are not those of $1" >&2; exit 1; }
    echo "the bills are those of $1"
}
tollgate serve 2>node.log &
processes=$!
until tollgate account open shop/alice --bytes 1GB --transaction order-1 2>/dev/null; do sleep 0.2; done
tollgate account open shop/bob --plan postpaid --transaction order-2
hear node.log
bills embedded
END
    section 'Moving from the embedded Redis to another'
    echo 'the_same embedded'
    section 'Adding a node'
    echo 'hear second.log; tollgate account top-up shop/bob --bytes 1MB --transaction order-3 --config second.yaml; bills two-nodes'
    section 'Upgrading'
    section 'Retiring a node'
    echo 'the_same two-nodes; rm -r second-state; redis-cli -s redis.sock DEL "tg:node:{second}"'
    section 'Adding a node'
    echo 'tollgate account top-up shop/bob --bytes 1GB --transaction order-4 --config second.yaml; hear second.log; bills killed'
    echo 'kill -KILL "$!"; wait "$!" || true'
    section 'Losing a disk, or a machine'
    echo 'the_same killed; mkdir archive'
    section 'The archive'
    section 'Adding a node' # on the directory that was replayed
    section 'Backup'
    echo 'bills backup.txt; hear node.log; hear second.log'
    echo 'tollgate account top-up shop/bob --bytes 1kB --transaction order-5 --config second.yaml; bills newest'
    section 'Restoring Redis from a backup'
    echo 'the_same newest; rm -r redis.lost'
    section 'Restoring Redis from nothing'
    echo 'the_same newest'
    # shellcheck disable=SC2016
    section 'Restoring a state directory' | sed '/^cp -a backup/i the_same newest\
kill -KILL $processes 2>/dev/null || true; wait; redis-cli -s redis.sock SHUTDOWN NOSAVE; rm -r state second-state redis'
    echo 'the_same backup.txt'
} >commands
[ "$(grep -c '^tollgate' commands)" -ge 25 ] || fail 'storage/ledger/README.md has lost its commands'
step "runs $(grep -c . commands) lines of storage/ledger/README.md and between them"
timeout -k 10 240 sh -eu commands >output.log 2>&1 || fail 'a command of the runbooks fails, after the output below'
said() { grep -q "$1" output.log || fail "$2"; }
said 'it may go' 'the node is not said to go'
said 'it may be deleted' 'the node was not retired'
said 'lane-b' 'the list has no lane of the retired node'
said 'all that its 1 lane holds is in Redis' 'the directory was not replayed'
said 'backup/second-state/lane-a is older than Redis' 'an older directory was not refused'
[ "$(grep -c 'all agree, to the byte' output.log)" -eq 4 ] || fail 'journals and Redis were not compared each time'
[ "$(grep -c 'the bills are those of' output.log)" -eq 7 ] || fail 'the bills were not compared each time'
step 'all passed'
