#!/bin/sh
# The storefront examples of tokens/examples against a real node: each of the five programs signs a link to a file
# and one to its album and reads why a third is refused; curl downloads by both links.
#
#   tests/examples.sh
#
# Uses build/tests/tollgate, the packages of `docker/deps.sh examples`, and jose from npm. One line for each step; the
# first that fails ends it. Some 3 seconds.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
name=examples
. "$root/tests/node.sh"

file='/Café/01 – 100% #1?.mp3'
mkdir "$work/media" "$work/media/Café"
cp "$media/Café/01 – 100% #1.mp3" "$work/media$file"
cat >"$work/tollgate.yaml" <<YAML
listen: 127.0.0.1:0
public_origin: http://127.0.0.1:1
media_root: media
state_dir: state
issuers:
  - id: shop
    iss: shop
    keys: keys/shop-private.jwks
    prefixes: [/]
YAML
start_node
curl -fsS --unix-socket "$work/state/admin.sock" -X PUT -o /dev/null \
    -d '{"plan":"prepaid","bytes":1000000000,"transaction":"examples-open"}' http://localhost/v1/accounts/shop/demo ||
    fail 'the account cannot be opened'

# has LINK CLAIM...: expects each claim, as compact JSON, in the link's token
has() {
    link=$1
    shift
    "$tollgate" link explain --json "$link" >"$work/explained" || fail "$language: $(cat "$work/explained")"
    for claim in "$@"; do
        tr -d ' \n' <"$work/explained" | grep -qF "$claim" || fail "$language: no $claim in $(cat "$work/explained")"
    done
}
# example LANGUAGE COMMAND...: runs it with the key, the origin and an order, whose name is the language
example() {
    language=$1
    shift
    "$@" "$work/keys/shop-private.jwks" "http://127.0.0.1:$port" "order-$language" >"$work/said" 2>"$work/example.log" ||
        fail "$language: the program ended with $?"
    [ "$(wc -l <"$work/said")" -eq 3 ] || fail "$language: printed $(cat "$work/said")"
    song=$(sed -n 1p "$work/said") album=$(sed -n 2p "$work/said") refusal=$(sed -n 3p "$work/said")
    [ "$refusal" = '403 bad_signature' ] || fail "$language: the refusal is '$refusal'"
    has "$song" "\"cdniuc\":\"exact:$(echo "$file" | tr -d ' ')\"" '"resume":86400' '"iat":'
    has "$album" '"cdniuc":"prefix:/Café/"' '"max_uses":1' "\"jti\":\"order-$language\"" '"iat":'
    for link in "$song" "$album"; do
        rm -f "$work/got"
        curl -fsS -o "$work/got" "$link" || fail "$language: $link"
        cmp "$work/got" "$work/media$file" || fail "$language: the bytes are not the file's"
    done
    tries=0 # a use brings at most three times the file; 429 while the node does not know whether it is over
    until [ "$(curl -s -o /dev/null -w '%{http_code}' "$album")" = 410 ]; do
        tries=$((tries + 1))
        [ $tries -lt 40 ] || fail "$language: the album link is good for more than one use"
        sleep 0.1
    done
    step "$language: both links download the file, and a forged one is '$refusal'"
}

examples=$root/tokens/examples
example php /usr/bin/php "$examples/links.php"
example python /usr/bin/python3 "$examples/links.py"
example ruby /usr/bin/ruby "$examples/links.rb"

mkdir "$work/node" # Node looks for modules beside the program
cp "$examples/links.mjs" "$work/node/"
npm install --silent --no-audit --no-fund --no-save --prefix "$work/node" jose@5 >"$work/npm.log" 2>&1 ||
    fail 'npm install jose'
example node node "$work/node/links.mjs"

mkdir "$work/go" # Debian's Go library is a directory of sources
cp "$examples/links.go" "$work/go/"
cat >"$work/go/go.mod" <<'MOD'
module links
go 1.19
require github.com/golang-jwt/jwt/v4 v4.4.3
replace github.com/golang-jwt/jwt/v4 => /usr/share/gocode/src/github.com/golang-jwt/jwt
MOD
(cd "$work/go" && GOCACHE=$work/go/cache GOPATH=$work/go/path GOPROXY=off GOFLAGS=-mod=mod GOWORK=off /usr/bin/go build links.go) \
    >"$work/go.log" 2>&1 || fail 'go build'
example go "$work/go/links"
echo 'examples: all passed'
