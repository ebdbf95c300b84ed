#!/bin/sh
# TLS by the kernel: boots Debian's cloud kernel in qemu (its module tls, this build, a certificate and busybox in an
# initramfs), downloads over TLS 1.2 and 1.3 there, and passes only if /proc/net/tls_stat shows that the kernel
# encrypted, the bytes are right and the bill is exact.
#
#   tests/ktls/run.sh     some 60 seconds without KVM
#
# Needs the packages of `docker/deps.sh ktls`, build/tests/tollgate and ktls-client beside it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
tollgate=$root/build/tests/tollgate
client=$root/build/tests/ktls-client
work=$(mktemp -d /tmp/tollgate-ktls-XXXXXX)
trap 'rm -rf "$work"' EXIT
fail() { echo "ktls: FAILED: $*" >&2; exit 1; }
for program in "$tollgate" "$client"; do
    [ -x "$program" ] || fail "$program is missing; run tests/run.sh --quick"
done
kernel=$(find /boot -name 'vmlinuz-*-cloud-amd64' | sort -V | tail -n 1)
[ -n "$kernel" ] || fail 'there is no cloud kernel in /boot; run docker/deps.sh ktls'
version=${kernel#/boot/vmlinuz-}
module=$(find "/lib/modules/$version" -name 'tls.ko*' | head -n 1)
[ -n "$module" ] || fail "the kernel $version has no tls.ko"

tree=$work/tree
mkdir -p "$tree/bin" "$tree/dev" "$tree/proc" "$tree/sys" "$tree/tmp" "$tree/etc" "$tree/site/media" "$tree/root"
install -m 0755 /bin/busybox "$tree/bin/busybox"
# The ciphers are modules, too. The kernel loads them by /sbin/modprobe, which is copied with the files that it reads.
modules=$tree/lib/modules/$version
mkdir -p "$tree/sbin" "$modules"
ln -s ../bin/busybox "$tree/sbin/modprobe"
(cd "/lib/modules/$version" && find kernel/net/tls kernel/crypto kernel/arch/x86/crypto kernel/lib modules.* -type f 2>/dev/null |
    cpio --quiet -pdm "$modules")
depmod -b "$tree" "$version"
# Each program is copied with its shared libraries, to where it expects them.
for program in "$tollgate" "$client" "$(command -v curl)" "$(command -v redis-server)"; do
    install -m 0755 "$(readlink -f "$program")" "$tree/bin/$(basename "$program")"
    ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$tree$(dirname "$library")"
        cp -L "$library" "$tree$library"
    done
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
sh "$root/docker/catalogue.sh" "$root/build/catalogue/media" >/dev/null
longest=$(find "$root/build/catalogue/media" -name '*.mp3' -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
cp "$longest" "$tree/site/media/long.mp3"
head -c 4096 "$longest" >"$tree/site/media/small.mp3"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 20000 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$tree/site/tls.pem.key" -out "$tree/site/tls.pem" 2>/dev/null
cat >"$tree/site/tollgate.yaml" <<YAML
listen: 127.0.0.1:8080
listen_tls: 127.0.0.1:8443
certificates: tls.pem
public_origin: https://127.0.0.1:8443
media_root: media
state_dir: state
workers: 1
admission_timeout_ms: 30000
grant_validity_ms: 60000
issuers:
  - id: shop
    iss: shop
    keys: shop-private.jwks
    prefixes: [/]
YAML
"$tollgate" key generate --issuer shop --alg HS256 --directory "$tree/site" >/dev/null
cp "$here/init.sh" "$tree/init"
chmod 0755 "$tree/init"
(cd "$tree" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initramfs"

timeout 540 qemu-system-x86_64 -accel tcg -cpu max -m 1024 -nographic -no-reboot -kernel "$kernel" \
    -initrd "$work/initramfs" -append 'console=ttyS0 quiet panic=-1 tsc=unstable' >"$work/console" 2>&1 </dev/null ||
    { tail -n 40 "$work/console" >&2; fail "qemu ended with $?"; }
tr -d '\r' <"$work/console" | sed -n 's/^.*ktls: /ktls: /p'
grep -q 'ktls: all passed' "$work/console" || { tail -n 60 "$work/console" >&2; fail 'see above'; }
