#!/bin/sh
# The demo shop (docker/shop) against a real node: Chromium opens its page, plays, downloads, tops up and is refused,
# and the balance that the page shows falls with the bytes that arrive.
#
#   tests/shop.sh                     SHOP_OUT=DIRECTORY keeps the pictures of the page there
#   tests/shop.sh --picture FILE      also writes the picture that README.md shows: --picture docker/shop.png
#
# Uses build/tests/tollgate. One line for each step; the first that fails ends it. Some 20 seconds.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
picture=
if [ "${1:-}" = --picture ]; then
    [ -n "${2:-}" ] || { echo 'shop: --picture needs the name of the file to write' >&2; exit 64; }
    picture=$(realpath "$2")
    shift 2
fi
name=shop
. "$root/tests/node.sh"

modules=$root/build/clients
[ -d "$modules/node_modules/playwright-core" ] ||
    npm install --silent --no-audit --no-fund --prefix "$modules" playwright-core@1.49 >"$work/npm.log" 2>&1 ||
    fail 'npm install playwright-core'
mkdir "$work/got"
# The node's configuration names the shop, and the shop must know where the node is, so one port is chosen first.
shop_port=$(free_port)
admin_port=$(free_port)
(umask 077 && printf %048d 7 >"$work/admin.secret")
cat >"$work/tollgate.yaml" <<YAML
listen: 127.0.0.1:0
public_origin: http://127.0.0.1:1
media_root: $media
state_dir: state
admin_listen: 127.0.0.1:$admin_port
issuers:
  - id: shop
    iss: shop
    keys: keys/shop-private.jwks
    admin_secret_file: admin.secret
    prefixes: [/]
    origins: ["http://127.0.0.1:$shop_port"]
    refusal_url: http://127.0.0.1:$shop_port/
YAML
start_node
"$tollgate" account open shop/demo --bytes 1GB --transaction open >/dev/null
/usr/bin/python3 "$root/docker/shop/shop.py" --port "$shop_port" --media-root "$media" --media-origin "http://127.0.0.1:$port" \
    --keys "$work/keys/shop-private.jwks" --admin "http://127.0.0.1:$admin_port" --secret-file "$work/admin.secret" >"$work/shop.log" 2>&1 &
processes="$! $processes"
until_it curl -fsS "http://127.0.0.1:$shop_port/tracks"

# ---- a request from a page of another origin is refused, and nothing is bought
for head in 'Host: shop.example' 'Origin: http://shop.example'; do
    status=$(curl -s -o /dev/null -w '%{http_code}' -X POST -H "$head" "http://127.0.0.1:$shop_port/top-up")
    [ "$status" = 403 ] || fail "a top-up with $head has $status"
done
step 'a top-up of another origin is refused'

NODE_PATH=$modules/node_modules SHOP=http://127.0.0.1:$shop_port MEDIA=$media SOCKET=$work/state/admin.sock GOT=$work/got \
    OUT=${SHOP_OUT:-$work} PICTURE=$picture timeout 120 node "$root/tests/shop.js" || fail 'the page'
# ---- the page has shown what is billed
until_it sh -c "'$tollgate' account show shop/demo --json | grep -q '\"used\": *$(cat "$work/got/used")[,}]'"
step 'all passed'
