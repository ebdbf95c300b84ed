#!/bin/sh
# Real clients against a real node: resumes by curl, wget and aria2 (right hash, right bill), a browser that plays and
# seeks, slow-attack tools beside an honest client, and a scan of what TLS offers.
#
#   tests/clients/run.sh           all of it
#   tests/clients/run.sh browser   only what has that word in its name: resume, browser, slow, scan
#
# Uses build/tests/tollgate. One line for each step; the first that fails ends it. Some 60 seconds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
only=
case ${1:-} in
-* | '') ;;
*) only=$1; shift ;;
esac
name=clients
. "$root/tests/node.sh"
wanted() { case $1 in *"$only"*) ;; *) return 1 ;; esac; }

mkdir "$work/media" "$work/got"
cp -r "$media/." "$work/media/"
longest=$(find "$media" -name '*.mp3' -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
for _ in 1 2 3 4 5 6 7 8; do cat "$longest"; done >"$work/media/long.mp3" # some 40 MB
size=$(stat -c %s "$work/media/long.mp3")
hash=$(sha256sum <"$work/media/long.mp3")
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout "$work/tls.pem.key" -out "$work/tls.pem" 2>/dev/null
cat >"$work/tollgate.yaml" <<YAML
listen: 127.0.0.1:0
listen_tls: 127.0.0.1:0
certificates: tls.pem
public_origin: http://127.0.0.1:1
media_root: media
state_dir: state
workers: 2
connections_max: 2000
head_timeout_ms: 3000
access_log: access
issuers:
  - id: shop
    iss: shop
    keys: keys/shop-private.jwks
    prefixes: [/]
    origins: ["*"]
YAML
start_node

sign() { # ACCOUNT PATH [ORIGIN]
    "$tollgate" link sign --key "$work/keys/shop-private.jwks" --issuer shop --account "$1" --expires-in 1h \
        --origin "${3:-http://127.0.0.1:$port}" --path "$2"
}
open_account() { "$tollgate" account open "shop/$1" --plan postpaid >/dev/null; }
billed() { "$tollgate" usage --json "shop/$1" | jq '.total.bytes // ([.. | .bytes? // empty] | max) // 0'; }
# expect_bill ACCOUNT LEAST MOST: waits until two looks half a second apart agree, then checks the bill
expect_bill() {
    last=-1 now=$(billed "$1")
    tries=0
    while [ "$now" != "$last" ] || [ "$now" -lt "$2" ]; do
        tries=$((tries + 1))
        [ $tries -lt 40 ] || fail "$1 is billed $now, not $2 to $3"
        sleep 0.5
        last=$now now=$(billed "$1")
    done
    [ "$now" -ge "$2" ] && [ "$now" -le "$3" ] || fail "$1 is billed $now, not $2 to $3"
    sleep 0.5 # the log's thread looks five times a second
    logged=$(jq -s --arg account "$1" 'map(select(.account == $account).billed) | add // 0' "$work/access")
    [ "$logged" = "$now" ] || fail "$1 is billed $now, and the access log has $logged"
}
same() { [ "$(sha256sum <"$1")" = "$hash" ] || fail "$2: the bytes are not the file's"; }

# ---- resumes: what came before the interruption stays, and is paid for once
if wanted resume; then
    for client in curl wget aria2c; do
        for scheme in http https; do
            account=$client-$scheme
            open_account "$account"
            origin=http://127.0.0.1:$port
            [ $scheme = http ] || origin=https://127.0.0.1:$port_tls
            link=$(sign "$account" /long.mp3 "$origin")
            out=$work/got/$account
            case $client in
            curl)
                first="curl -sS --cacert $work/tls.pem --limit-rate 8M -o $out"
                second="curl -sS --cacert $work/tls.pem -C - -o $out"
                ;;
            wget)
                first="wget -q --ca-certificate=$work/tls.pem --limit-rate=8m -O $out"
                second="wget -q --ca-certificate=$work/tls.pem -c -O $out"
                ;;
            aria2c)
                first="aria2c -q --ca-certificate=$work/tls.pem -x4 -s4 -k1M --max-download-limit=8M
                    --auto-save-interval=1 --file-allocation=none --allow-overwrite=true -d / -o ${out#/}"
                second="aria2c -q --ca-certificate=$work/tls.pem -x4 -s4 -k1M -c --file-allocation=none -d / -o ${out#/}"
                ;;
            esac
            # shellcheck disable=SC2086 # options are a list
            timeout -s INT 2 $first "$link" >/dev/null 2>&1 || true
            [ -s "$out" ] || fail "$account: nothing came before the interruption"
            [ "$client" = aria2c ] || before=$(stat -c %s "$out")
            # shellcheck disable=SC2086
            $second "$link" >"$work/client.log" 2>&1 || { cat "$work/client.log" >&2; fail "$account: the resume"; }
            same "$out" "$account"
            # When the client ended, its kernel had acknowledged bytes that it then threw away: at most some
            # megabytes of socket buffers for each connection.
            [ $client = aria2c ] && slack=$((32 << 20)) || slack=$((8 << 20))
            expect_bill "$account" "$size" $((size + slack))
            step "$account resumed, $(billed "$account") billed of $size"
        done
    done
fi

# ---- the same without an interruption: to the byte
if wanted resume; then
    for client in curl aria2c; do
        account=$client-whole
        open_account "$account"
        link=$(sign "$account" /long.mp3)
        case $client in
        curl) curl -sS -o "$work/got/$account" "$link" ;;
        aria2c) aria2c -q -x4 -s4 -k1M --file-allocation=none -d "$work/got" -o "$account" "$link" ;;
        esac
        same "$work/got/$account" "$account"
        if [ $client = curl ]; then expect_bill "$account" "$size" "$size"; else expect_bill "$account" "$size" $((size + (32 << 20))); fi
        step "$account: $(billed "$account") billed of $size"
    done
fi

# ---- TLS: nothing below 1.2, no weak cipher
if wanted scan; then
    sslscan --no-colour "127.0.0.1:$port_tls" >"$work/sslscan"
    grep -qE '^(SSLv2|SSLv3|TLSv1\.0|TLSv1\.1) +enabled' "$work/sslscan" && { cat "$work/sslscan"; fail 'an old version'; }
    grep -qE '^TLSv1\.2 +enabled' "$work/sslscan" && grep -qE '^TLSv1\.3 +enabled' "$work/sslscan" ||
        { cat "$work/sslscan"; fail 'TLS 1.2 and 1.3'; }
    sed -n 's/^\(Preferred\|Accepted\) *//p' "$work/sslscan" >"$work/ciphers"
    [ -s "$work/ciphers" ] || fail 'no cipher at all'
    grep -vE ' 128 bits .*GCM| 256 bits .*(GCM|CHACHA20)' "$work/ciphers" && fail 'a weak cipher'
    step "sslscan: TLS 1.2 and 1.3, $(wc -l <"$work/ciphers") ciphers, all AEAD with forward secrecy"
fi

# ---- slow attacks beside an honest client: its rate falls by less than a quarter
if wanted slow; then
    open_account honest
    open_account attacker # its own link is answered 429 after some unacknowledged answers
    link=$(sign honest /long.mp3)
    attacked_by=$(sign attacker /long.mp3)
    # At the pace of a fast line (1.6 Gbit/s). Without it, the attacker's own use of these processors would be measured.
    rate() { # bytes/s: the best of five downloads, by curl's own clock
        for _ in 1 2 3 4 5; do curl -fsS --limit-rate 200M -o /dev/null -w '%{speed_download}\n' "$link"; done | sort -n | tail -n 1 | cut -d. -f1
    }
    alone=$(rate)
    for attack in -H -X -R; do
        # -H: heads that never end; -X: answers that are read very slowly; -R: many ranges
        slowhttptest $attack -c 800 -r 200 -i 1 -l 12 -x 24 -p 3 -w 10 -y 20 -n 5 -z 32 -k 3 -u "$attacked_by" >"$work/slow" 2>&1 &
        attacker=$!
        sleep 4
        attacked=$(rate)
        wait $attacker || true
        [ "$attacked" -ge $((alone * 3 / 4)) ] || fail "slowhttptest $attack: $attacked bytes/s in place of $alone"
        step "slowhttptest $attack: the honest client has $((attacked / 1000000)) MB/s, $((alone / 1000000)) alone"
    done
    "$tollgate" health >/dev/null || fail 'the node is not well after it'
fi

# ---- a browser
if wanted browser; then
    modules=$root/build/clients
    [ -d "$modules/node_modules/playwright-core" ] ||
        npm install --silent --no-audit --no-fund --prefix "$modules" playwright-core@1.49 >"$work/npm.log" 2>&1 ||
        { cat "$work/npm.log" >&2; fail 'npm install playwright-core'; }
    open_account browser
    link=$(sign browser '/albums/Night Train/02 Long Way Home.mp3')
    expired=$("$tollgate" link sign --key "$work/keys/shop-private.jwks" --issuer shop --account browser --expires-in 1s \
        --origin "http://127.0.0.1:$port" --path /jingle.mp3)
    sleep 2
    open_account script
    whole=$(sign script /long.mp3)
    NODE_PATH=$modules/node_modules LINK=$link WHOLE=$whole EXPIRED=$expired OUT=${CLIENTS_OUT:-$work} node "$here/browser.js" >"$work/browser.json" ||
        fail 'the browser'
    fetched=$(jq .fetched "$work/browser.json")
    # The bill is what the browser fetched, and at most what was on the way when it stopped reading.
    expect_bill browser "$fetched" $((fetched + (3 << 20)))
    expect_bill script "$size" "$size" # read to its end by a script: to the byte
    step "chromium played and sought: it fetched $fetched bytes, $(billed browser) billed"
fi
echo 'clients: all passed'
