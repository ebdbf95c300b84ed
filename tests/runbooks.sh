#!/bin/sh
# Runs the commands of the runbooks in storage/ledger/README.md, in their order and in one shell: a second node is added
# and retired, added again, killed, and its directory replayed.
#
#   tests/runbooks.sh      some 20 seconds; uses build/tests/tollgate
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
name=runbooks
. "$root/tests/node.sh"

# section TITLE: the commands of a part of the paper
section() {
    awk -v title="### $1" '$0 == title { inside = 1; next } /^##/ { inside = 0 } inside && /^    / { print substr($0, 5) }' \
        "$root/storage/ledger/README.md"
}
redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --appendonly yes --dir "$work" >"$work/redis.log" &
processes="$! $processes"
until_it redis-cli -s "$work/redis.sock" PING

cd "$work"
export PATH="$root/build/tests:$PATH"
configuration() { # NODE STATE_DIR
    printf 'node: %s\nstate_dir: %s\nlisten: 127.0.0.1:0\nredis: unix:%s/redis.sock\nmedia_root: %s\n' "$1" "$2" "$work" "$media"
    echo 'issuers: [{id: shop, iss: shop, keys: keys/shop-private.jwks, prefixes: [/]}]'
}
configuration first state >tollgate.yaml
configuration second second-state >second.yaml
start_node
unset TOLLGATE_CONFIG
{
    section 'Adding a node'
    echo 'tollgate account open shop/alice --plan postpaid --transaction order-1 --config second.yaml'
    section 'Retiring a node'
    echo 'rm -r second-state && redis-cli -s redis.sock DEL "tg:node:{second}"'
    section 'Adding a node'
    echo 'tollgate account open shop/bob --bytes 1GB --transaction order-2 --config second.yaml'
    echo 'kill -KILL "$!"; wait "$!" || true'
    section 'Losing a disk, or a machine'
} >commands
[ "$(grep -c '^tollgate' commands)" -ge 10 ] || fail 'storage/ledger/README.md has lost its commands'
step "runs $(grep -c . commands) lines of storage/ledger/README.md"
timeout -k 10 120 sh -eu commands >output.log 2>&1 || fail 'a command of the runbooks fails, after the output below'
grep -q 'it may go' output.log || fail 'the node is not said to go'
grep -q 'it may be deleted' output.log || fail 'the node was not retired'
grep -q 'lane-b' output.log || fail 'the list has no lane of the retired node'
grep -q 'all that its 1 lane holds is in Redis' output.log || fail 'the directory was not replayed'
step 'all passed'
