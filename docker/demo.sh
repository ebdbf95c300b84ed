#!/bin/sh
# Shows all of Tollgate: installs what is missing, builds, makes a small catalogue of real MP3s, serves it,
# opens a prepaid account, signs links, downloads the files, prints the bill, and opens a shop (docker/shop) that
# sells the catalogue in a browser.
#
#   sh docker/demo.sh          keeps serving until Ctrl-C
#   sh docker/demo.sh --once   stops after the downloads were checked
#
# What it makes lies in build/demo; a second run starts in seconds.
set -eu
once=no
case ${1:-} in
'') ;;
--once) once=yes ;;
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
*) echo "demo.sh: unknown option '$1'; sh docker/demo.sh --help tells the two ways to call it" >&2; exit 64 ;;
esac

cd "$(dirname "$0")/.."
root=$PWD
step() { echo "== $*"; }
die() { echo "demo.sh: $*" >&2; exit 1; }

step 'packages'
sh docker/ready.sh demo
step 'building Release into build/'
mkdir -p build
{ cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release && ninja -C build tollgate; } >build/demo-build.log 2>&1 ||
    { tail -n 40 build/demo-build.log >&2; die 'the build failed; the whole log is build/demo-build.log'; }
tollgate=$root/build/tollgate

demo=$root/build/demo
# A Unix socket's path has 107 bytes at most, and the state directory holds two of them.
if [ "${#demo}" -gt 80 ]; then
    demo=/tmp/tollgate-demo
    echo "   (this checkout's path is too long for a Unix socket: the demo's data is in $demo)"
fi
mkdir -p "$demo/keys"
step 'catalogue of MP3s'
sh docker/catalogue.sh "$demo/media"
cd "$demo"

export TOLLGATE_CONFIG="$demo/tollgate.yaml"
if [ -e tollgate.yaml ] && "$tollgate" health >/dev/null 2>&1; then
    die 'a demo of this checkout is serving already; stop it (Ctrl-C where it runs), then start this one'
fi
# curl's exit code 7 says that nothing listens there; any other means that the port is taken.
listens() {
    code=0
    curl -s -o /dev/null --max-time 1 "http://127.0.0.1:$1/" || code=$?
    [ "$code" -ne 7 ]
}
free_port() { # FIRST: the first of twenty ports on which nothing listens
    free=$1
    while listens "$free"; do
        free=$((free + 1))
        [ "$free" -lt $(($1 + 20)) ] || die "every port from $1 to $(($1 + 19)) is in use; free one of them"
    done
}
free_port 8080
port=$free
origin=http://127.0.0.1:$port
free_port 8180
shop_origin=http://127.0.0.1:$free
free_port 8280
admin_port=$free
[ -e keys/shop-private.jwks ] || "$tollgate" key generate --issuer shop --alg HS256 --directory keys >/dev/null
# The shop's secret for the admin interface: 48 hexadecimal digits.
[ -s keys/shop-admin.secret ] || (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >keys/shop-admin.secret)
cat >tollgate.yaml <<YAML
listen: 127.0.0.1:$port
public_origin: $origin
media_root: media
state_dir: state
admin_listen: 127.0.0.1:$admin_port
issuers:
  - id: shop
    iss: shop
    keys: keys/shop-private.jwks
    prefixes: [/]
    admin_secret_file: keys/shop-admin.secret
    origins: ["$shop_origin"]
    refusal_url: $shop_origin/
YAML

step "serving on $origin (log: $demo/log)"
"$tollgate" serve >log 2>&1 &
server=$!
shop=
stop() {
    for process in $shop $server; do
        kill -TERM "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
tries=0
until "$tollgate" health >/dev/null 2>&1; do
    tries=$((tries + 1))
    kill -0 "$server" 2>/dev/null || { cat log >&2; die 'the server ended; its log is above'; }
    [ "$tries" -lt 150 ] || { cat log >&2; die 'the server is not ready after 30 s; its log is above'; }
    sleep 0.2
done

admin() { curl -sS --unix-socket state/admin.sock "$@"; }
used() { admin http://localhost/v1/accounts/shop/demo | sed -n 's/.*"used":\([0-9]*\).*/\1/p'; }
sign() {
    "$tollgate" link sign --key keys/shop-private.jwks --issuer shop --account demo --expires-in 1h \
        --origin "$origin" --path "$1"
}

step 'a prepaid account of 1 GB, and links'
[ -n "$(used)" ] || admin -X PUT -d '{"plan":"prepaid","bytes":1000000000,"transaction":"demo-open"}' \
    http://localhost/v1/accounts/shop/demo >/dev/null
before=$(used)
[ -n "$before" ] || die 'the account could not be opened'
large=$(cd media && find . -name '*.mp3' -printf '%s %P\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
small=$(cd media && find . -name '*.mp3' -printf '%s %P\n' | sort -n | head -n 1 | cut -d' ' -f2-)
whole_link=$(sign "/$small")
part_link=$(sign "/$large")

curl -fsS -o whole.mp3 "$whole_link" || die 'the download failed'
cmp whole.mp3 "media/$small" || die 'the download is not the file'
curl -fsS -r 1000-66535 -o part.bin "$part_link" || die 'the range failed'
tail -c +1001 "media/$large" | head -c 65536 | cmp - part.bin || die 'the range is not that part of the file'
received=$(($(wc -c <whole.mp3) + $(wc -c <part.bin)))
tries=0
until [ "$(($(used) - before))" -eq "$received" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || die "curl received $received bytes, the bill says $(($(used) - before))"
    sleep 0.1
done

step "the shop on $shop_origin (log: $demo/shop.log)"
/usr/bin/python3 "$root/docker/shop/shop.py" --port "${shop_origin##*:}" --media-root media --media-origin "$origin" \
    --keys keys/shop-private.jwks --admin "http://127.0.0.1:$admin_port" --secret-file keys/shop-admin.secret >shop.log 2>&1 &
shop=$!
tries=0
until curl -fsS -o /dev/null "$shop_origin/" 2>/dev/null; do
    tries=$((tries + 1))
    kill -0 "$shop" 2>/dev/null || { cat shop.log >&2; die 'the shop ended; its log is above'; }
    [ "$tries" -lt 50 ] || { cat shop.log >&2; die 'the shop does not answer after 10 s; its log is above'; }
    sleep 0.2
done
if [ "$once" = yes ]; then
    curl -fsS "$shop_origin/tracks" | tr '{' '\n' | grep play_url >tracks || die 'the shop lists nothing'
    curl -fsS -o /dev/null "$shop_origin/balance" || die "the shop cannot ask 127.0.0.1:$admin_port for the balance"
    listed=$(wc -l <tracks)
    there=$(find media -name '*.mp3' | wc -l)
    [ "$listed" -eq "$there" ] || die "the shop lists $listed tracks, the catalogue has $there"
    play_link=$(sed -n 's|.*"play_url": "\([^"]*/jingle\.mp3?[^"]*\)".*|\1|p' tracks)
    status=$(curl -s -o /dev/null -w '%{http_code}' "$play_link") || true
    [ "$status" = 200 ] || die "a link that the shop signed to play is answered $status"
fi

cat <<TEXT

  $small, whole
    $whole_link
  $large, bytes 1000 to 66535
    $part_link

  curl received $received bytes, and $received bytes were billed to shop/demo.
TEXT
if [ "$once" = yes ]; then exit 0; fi
cat <<TEXT

  Try next, in another terminal:
    export TOLLGATE_CONFIG='$demo/tollgate.yaml' PATH="$root/build:\$PATH"
    tollgate health
    tollgate usage shop/demo
    tollgate account show shop/demo
    tollgate link explain '$whole_link'
    curl -i '${whole_link}x'       # a forged link: 403 bad_signature
    curl -i '$origin/$small'       # no token: 403 token_missing
    curl --unix-socket '$demo/state/admin.sock' http://localhost/v1/accounts/shop/demo/usage

  The shop, for a browser: it plays and downloads, and its balance falls by what arrives.

    $shop_origin/

  Serving until Ctrl-C.
TEXT
wait "$server"
