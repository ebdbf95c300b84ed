#!/bin/sh
# Checks server/admin/openapi.json, the description of the admin interface: redocly and spectral must find nothing in it, not
# even a warning, by their recommended rules, and a running node must answer each operation as described (check.js).
#
#   tests/openapi/run.sh
#
# Uses build/tests/tollgate, the packages of `docker/deps.sh clients` and the linters from npm, which are kept in
# build/openapi. One line for each step; the first that fails ends it. Some 20 seconds, once the linters are there.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
name=openapi
. "$root/tests/node.sh"

modules=$root/build/openapi
packages='@redocly/cli@1.34.14 @stoplight/spectral-cli@6.16.3 ajv@8.20.0 ajv-formats@3.0.1'
if [ "$(cat "$modules/packages" 2>/dev/null || true)" != "$packages" ]; then
    # shellcheck disable=SC2086 # a list
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$modules" $packages >"$work/npm.log" 2>&1 || fail 'npm install'
    echo "$packages" >"$modules/packages"
fi
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
# recommended-strict: the recommended rules, with every warning an error.
"$modules/node_modules/.bin/redocly" lint --extends recommended-strict "$root/server/admin/openapi.json" >"$work/redocly.log" 2>&1 ||
    fail 'redocly lint'
step 'redocly finds nothing'
echo 'extends: ["spectral:oas"]' >"$work/spectral.yaml"
"$modules/node_modules/.bin/spectral" lint --fail-severity hint --ruleset "$work/spectral.yaml" "$root/server/admin/openapi.json" \
    >"$work/spectral.log" 2>&1 || fail 'spectral lint'
step 'spectral finds nothing'

printf 'openapi-secret-of-the-shop-0123456789\n' >"$work/keys/shop.secret"
chmod 600 "$work/keys/shop.secret"
cat >"$work/tollgate.yaml" <<YAML
listen: 127.0.0.1:0
public_origin: http://127.0.0.1:1
media_root: $media
state_dir: state
admin_listen: unix:$work/shops.sock
issuers:
  - {id: shop, iss: shop, keys: keys/shop-private.jwks, prefixes: [/], admin_secret_file: keys/shop.secret}
YAML
start_node
link=$("$tollgate" link sign --key "$work/keys/shop-private.jwks" --issuer shop --account alice --path /jingle.mp3 \
    --expires-in 1h --origin "http://127.0.0.1:$port")
NODE_PATH=$modules/node_modules SOCKET=$work/state/admin.sock SHOPS=$work/shops.sock SECRET=$(cat "$work/keys/shop.secret") \
    LINK=$link timeout 60 node "$root/tests/openapi/check.js" || fail 'the answers'
step 'all passed'
