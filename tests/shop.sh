#!/bin/sh
# The demo shop (docker/shop) against a real node: Chromium opens its page, plays, downloads, tops up and is refused,
# and the balance that the page shows falls with the bytes that arrive.
#
#   tests/shop.sh      SHOP_OUT=DIRECTORY keeps the pictures of the page there
#
# Uses build/tests/tollgate. One line for each step; the first that fails ends it. Some 20 seconds.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
case ${1:-} in
'') ;;
-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
*) echo "shop: unknown option '$1'; see --help" >&2; exit 64 ;;
esac
tollgate=$root/build/tests/tollgate
[ -x "$tollgate" ] || { echo "shop: $tollgate is missing; run tests/run.sh --quick" >&2; exit 69; }

work=$(mktemp -d /tmp/tollgate-shop-XXXXXX)
node='' shop=''
finish() {
    for process in $shop $node; do
        kill -TERM "$process" 2>/dev/null && wait "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
fail() { echo "shop: FAILED: $*" >&2; tail -n 20 "$work"/*.log >&2; exit 1; }
# until_it COMMAND...: for 20 seconds
until_it() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "in vain: $*"
        sleep 0.2
    done
}

media=$root/build/catalogue/media
sh "$root/docker/catalogue.sh" "$media" >/dev/null
modules=$root/build/clients
[ -d "$modules/node_modules/playwright-core" ] ||
    npm install --silent --no-audit --no-fund --prefix "$modules" playwright-core@1.49 >"$work/npm.log" 2>&1 ||
    fail 'npm install playwright-core'
mkdir "$work/keys" "$work/got"
"$tollgate" key generate --issuer shop --alg HS256 --directory "$work/keys" >/dev/null
# The node's configuration names the shop, and the shop is told where the node is: one port must be known first.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/tollgate.yaml" <<YAML
listen: 127.0.0.1:0
public_origin: http://127.0.0.1:1
media_root: $media
state_dir: state
issuers:
  - id: shop
    iss: shop
    keys: keys/shop-private.jwks
    prefixes: [/]
    origins: ["http://127.0.0.1:$port"]
    refusal_url: http://127.0.0.1:$port/
YAML
export TOLLGATE_CONFIG="$work/tollgate.yaml"
"$tollgate" serve 2>"$work/node.log" &
node=$!
until_it "$tollgate" health
"$tollgate" account open shop/demo --bytes 1GB --transaction open >/dev/null
media_port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' "$work/node.log")
python3 "$root/docker/shop/shop.py" --port "$port" --media-root "$media" --media-origin "http://127.0.0.1:$media_port" \
    --keys "$work/keys/shop-private.jwks" --admin "unix:$work/state/admin.sock" >"$work/shop.log" 2>&1 &
shop=$!
until_it curl -fsS "http://127.0.0.1:$port/tracks"

# ---- what a page of another origin asks is refused, and nothing is bought
for head in 'Host: shop.example' 'Origin: http://shop.example'; do
    status=$(curl -s -o /dev/null -w '%{http_code}' -X POST -H "$head" "http://127.0.0.1:$port/top-up")
    [ "$status" = 403 ] || fail "a top-up with $head has $status"
done
echo 'shop: a top-up of another origin is refused'

NODE_PATH=$modules/node_modules SHOP=http://127.0.0.1:$port MEDIA=$media SOCKET=$work/state/admin.sock GOT=$work/got \
    OUT=${SHOP_OUT:-$work} timeout 120 node "$root/tests/shop.js" || fail 'the page'
# ---- what the page showed is the bill
until_it sh -c "'$tollgate' account show shop/demo --json | grep -q '\"used\": *$(cat "$work/got/used")[,}]'"
echo 'shop: all passed'
