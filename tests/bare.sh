#!/bin/sh
# Runs commands in a Debian 12 that has nothing but what debootstrap puts there: each in the top directory of a copy of
# this checkout, as root, with this machine's kernel and network, and with apt's mirror, proxies and certificates.
#
#   tests/bare.sh COMMAND...      for example: tests/bare.sh 'sh docker/demo.sh --once' 'sh tests/run.sh --quick'
#
# Prints what the commands print and a line with seconds for each, and exits 1 where one failed. The copy has what git
# tracks. Needs root, git and debootstrap, and up to 8 GiB in /var/tmp; its mounts are private and end with it.
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
'' | -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
-*) echo "bare.sh: the option '$1' is unknown; give commands, each as one argument" >&2; exit 64 ;;
esac
. tests/debian.sh

work=$(mktemp -d /var/tmp/tollgate-bare-XXXXXX)
inside=
clean_up() {
    # unshare ignores SIGTERM. SIGKILL also ends its child, and with it the namespace and its mounts.
    [ -z "$inside" ] || { kill -KILL "$inside" && wait "$inside"; } 2>/dev/null || true
    if grep -q " $work" /proc/self/mounts; then
        echo "bare.sh: something is still mounted in $work, which is kept; unmount it and delete the directory" >&2
    else
        rm -rf "$work"
    fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM
root=$work/root
copy=$root/tollgate

echo "bare.sh: making a bare Debian 12 in $root"
make_debian "$root" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    echo "bare.sh: debootstrap failed, as above; mend the mirror or the network" >&2
    exit 69
}
debian_sources >"$root/etc/apt/sources.list"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/thrown-away" # or dpkg would sync each file of 900 packages
debian_network >"$root/etc/apt/apt.conf.d/99machine" || true
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
# This machine's own certificates, which its proxies may need, and the file of certificates that only apt is given.
mkdir -p "$root/etc/ssl/certs" "$root/usr/local/share/ca-certificates"
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
find -L /usr/local/share/ca-certificates -type f -name '*.crt' -exec cp {} "$root/usr/local/share/ca-certificates/" \; 2>/dev/null || true
sed -n 's/^Acquire::.*:[Cc]a[Ii]nfo "\(.*\)";$/\1/p' "$root/etc/apt/apt.conf.d/99machine" | while read -r file; do
    install -D -m 0644 "$file" "$root$file"
done
mkdir "$copy"
git ls-files -z | tar --null --files-from=- --create | tar -C "$copy" --extract

cat >"$work/enter" <<'ENTER'
set -eu
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
cd "$root"
mkdir .machine
pivot_root . .machine
umount -l .machine
rmdir .machine
cd /tollgate
shift
failed=no
for command in "$@"; do
    echo "bare.sh: $command"
    started=$(date +%s)
    if sh -c "$command"; then result=PASS; else result=FAIL failed=yes; fi
    echo "$result  in a bare Debian 12: $command ($(($(date +%s) - started)) s)"
done
[ "$failed" = no ]
ENTER
# The environment is empty but for the proxies. env takes the variables before its command.
set -- sh "$work/enter" "$root" "$@"
while read -r variable; do
    [ -z "$variable" ] || eval "set -- \"$variable=\$$variable\" \"\$@\""
done <<NAMES
$(env | sed -n -E 's/^(([A-Za-z_]*_)?(proxy|PROXY)|SSL_CERT_(FILE|DIR)|NODE_EXTRA_CA_CERTS|CURL_CA_BUNDLE|npm_config_(registry|cafile))=.*/\1/p')
NAMES
unshare --mount --pid --ipc --uts --fork --kill-child env -i HOME=/root LANG=C.UTF-8 TERM=dumb \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" </dev/null &
inside=$!
code=0
wait "$inside" || code=$?
inside=
[ "$code" -eq 0 ] || exit 1
