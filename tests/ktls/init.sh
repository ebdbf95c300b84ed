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
    [ $tries -lt 60 ] || { cat /site/log /tmp/health; end 'FAILED: the node does not become ready'; }
    sleep 1
done
grep -q 'records are made by the kernel' /site/log || { cat /site/log; end 'FAILED: the node does not see kTLS'; }
stat_of() { sed -n "s/^$1[^0-9]*//p" /proc/net/tls_stat; }
due=0
tollgate account open shop/ktls --plan postpaid >/dev/null || end 'FAILED: account open'
sign() { tollgate link sign --key /site/shop-private.jwks --issuer shop --account ktls --expires-in 1h \
    --origin https://127.0.0.1:8443 --path "$1"; }
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
# A client that goes in the middle is billed no more than came, and what its kernel took.
curl -sS --cacert /site/tls.pem --limit-rate 400k --max-time 3 -o /tmp/part "$(sign /long.mp3)" 2>/dev/null
sleep 3
more=$(($(billed) - due))
[ "$more" -ge 0 ] && [ "$more" -le "$(stat -c %s /site/media/long.mp3)" ] || end "FAILED: $more billed of a download cut short"
echo "ktls: cut short: $(stat -c %s /tmp/part) came out of curl, $more billed"
cat /proc/net/tls_stat
grep -i 'error\|invariant' /site/log && end 'FAILED: the log has errors'
end 'all passed'
