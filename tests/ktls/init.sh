#!/bin/busybox sh
# The first process of the machine that run.sh boots: downloads over TLS and says what it found on the console.
export PATH=/bin HOME=/root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
end() { echo "ktls: $*"; sync; poweroff -f; }
modprobe tls || end 'FAILED: modprobe tls'
ulimit -n 20000
cd /site
export TOLLGATE_CONFIG=/site/tollgate.yaml
tollgate serve 2>/site/log &
tries=0
until tollgate health >/tmp/health 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 240 ] || { cat /site/log /tmp/health; end 'FAILED: the node does not become ready'; }
    sleep 1
done
grep -q 'TLS records are encrypted by the kernel' /site/log || { cat /site/log; end 'FAILED: the node does not see kTLS'; }
stat_of() { sed -n "s/^$1[^0-9]*//p" /proc/net/tls_stat; }
due=0
tollgate account open shop/ktls --plan postpaid >/dev/null || end 'FAILED: account open'
sign() { tollgate link sign --key /site/shop-private.jwks --issuer shop --account ktls --expires-in 1h \
    --origin https://127.0.0.1:8443 --path "$@"; }
billed() { tollgate usage --json shop/ktls | sed -n 's/.*"bytes": \([0-9]*\).*/\1/p' | sort -n | tail -n 1; }
for version in 1.2 1.3; do
    for file in long small; do
        before=$(stat_of TlsTxSw)
        curl -sS --cacert /site/tls.pem --tlsv$version --tls-max $version -o /tmp/got "$(sign /$file.mp3)" ||
            { cat /site/log; end "FAILED: curl, TLS $version"; }
        cmp /tmp/got /site/media/$file.mp3 || end "FAILED: TLS $version: the bytes of $file.mp3"
        [ "$(stat_of TlsTxSw)" -gt "$before" ] || { cat /proc/net/tls_stat; end "FAILED: TLS $version: the kernel did not encrypt"; }
        due=$((due + $(stat -c %s /site/media/$file.mp3)))
        tries=0
        until [ "$(billed)" = "$due" ]; do
            tries=$((tries + 1))
            [ $tries -lt 30 ] || end "FAILED: TLS $version: billed $(billed), not $due"
            sleep 1
        done
        echo "ktls: TLS $version, $file.mp3: right, encrypted by the kernel, billed to the byte"
    done
done
# Clients that reset in the middle. A client is billed no more than its kernel had of the body, which may include a
# part of one more record. It is billed less only by the rounding: two records, or what came since the last tick, and,
# while the socket's queue is not empty, what the queue holds.
reset_after() { # WHAT VERSION LINK KEY_UPDATES LESS_AT_MOST
    due=$(billed)
    came=$(ktls-client 8443 "${3#https://127.0.0.1:8443}" "$2" 300000 "$4") || end "FAILED: TLS $2: $1: the client"
    sleep 1
    more=$(($(billed) - due))
    echo "ktls: TLS $2: $1: $came bytes came, $more billed"
    [ "$more" -lt $((came + 16384)) ] && [ "$more" -ge $((came - $5)) ] || end "FAILED: TLS $2: $1"
}
for version in 1.2 1.3; do
    reset_after 'reset' $version "$(sign /long.mp3)" 0 4000000
    reset_after 'reset of a slow link' $version "$(sign /long.mp3 --rate 200kB)" 0 65536
done
reset_after 'asking for other keys' 1.3 "$(sign /long.mp3 --rate 200kB)" 500 65536
cat /proc/net/tls_stat
grep -i 'error\|invariant' /site/log && end 'FAILED: the log has errors'
end 'all passed'
