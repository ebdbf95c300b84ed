#!/bin/sh
# Installs what the build made and checks it as a packager and an operator would: manual, completion, units, and the
# Debian package, which is installed, used, removed and purged in a container of its own.
# Needs root and the packages of `docker/deps.sh image`. One line for each step; the first that fails ends it.
set -eu
cd "$(dirname "$0")/.."
. tests/container.sh

step() { echo "package: $*"; }
fail() { echo "package: FAILED: $*" >&2; exit 1; }

step "building, and installing into a directory"
# The build that was tested, whose programs are those of the preset `release`.
cmake --preset tests >"$work/log" && ninja -C build/tests >>"$work/log" || { tail "$work/log" >&2; fail "the build"; }
DESTDIR=$work/prefix cmake --install build/tests --prefix /usr >"$work/log"
installed=$work/prefix/usr
for file in bin/tollgate bin/tollgate-bench share/man/man1/tollgate.1.gz share/man/man5/tollgate.yaml.5.gz \
    share/bash-completion/completions/tollgate share/doc/tollgate/copyright share/doc/tollgate/examples/tollgate.yaml \
    lib/systemd/system/tollgate.service lib/systemd/system/tollgate.socket; do
    [ -s "$installed/$file" ] || fail "$file is missing"
done

step "the manual's pages are clean and name every command and key"
for page in man1/tollgate.1 man5/tollgate.yaml.5; do
    LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=100 man --warnings -E UTF-8 -l -Tutf8 -Z "$installed/share/man/$page.gz" \
        >/dev/null 2>"$work/log"
    [ ! -s "$work/log" ] || { cat "$work/log" >&2; fail "$page"; }
done
MANWIDTH=100 man -l "$installed/share/man/man1/tollgate.1.gz" | col -b >"$work/page"
"$installed/bin/tollgate" --help | sed -n 's/^      \(tollgate [a-z]*\).*/\1/p' | sort -u >"$work/commands"
[ "$(wc -l <"$work/commands")" -ge 8 ] || fail "the help lists no commands"
while read -r command; do grep -qF "$command" "$work/page" || fail "tollgate(1) lacks: $command"; done <"$work/commands"
MANWIDTH=100 man -l "$installed/share/man/man5/tollgate.yaml.5.gz" | col -b >"$work/page"
sed -n 's/^#\{0,1\} \{0,1\}\([a-z_]*\): .*/\1/p' "$installed/share/doc/tollgate/examples/tollgate.yaml" | sort -u >"$work/keys"
[ "$(wc -l <"$work/keys")" -ge 20 ] || fail "the example has no keys"
while read -r key; do grep -qw "$key" "$work/page" || fail "tollgate.yaml(5) lacks: $key"; done <"$work/keys"

step "the completion completes commands and options"
cat >"$work/complete" <<'BASH'
source "$1"
try() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMPREPLY=()
    "$(complete -p tollgate | sed 's/.*-F \([^ ]*\).*/\1/')" tollgate "${*: -1}" ''
    echo "${COMPREPLY[*]}"
}
[ "$(try tollgate doc)" = doctor ] && [[ " $(try tollgate serve --ch) " == *" --check-config"* ]]
BASH
bash "$work/complete" "$installed/share/bash-completion/completions/tollgate" || fail "the completion"

step "systemd accepts the units"
install -D -m 0755 "$installed/bin/tollgate" "$work/root/usr/bin/tollgate"
install -D -m 0755 /bin/true "$work/root/bin/sh"
for unit in sysinit.target basic.target shutdown.target sockets.target multi-user.target network-online.target time-sync.target; do
    mkdir -p "$work/root/usr/lib/systemd/system"
    printf '[Unit]\nDescription=%s\n' "$unit" >"$work/root/usr/lib/systemd/system/$unit" # an empty unit is masked
done
install -D -m 0644 -t "$work/root/usr/lib/systemd/system" "$installed"/lib/systemd/system/tollgate.*
systemd-analyze verify --root="$work/root" --man=no --recursive-errors=yes tollgate.service tollgate.socket >"$work/log" 2>&1 || true
grep -v -E 'User tollgate not found|^$' "$work/log" | grep -E 'tollgate\.(service|socket)' >&2 && fail "a unit"
exposure=$(systemd-analyze security --offline=yes --root="$work/root" tollgate.service 2>/dev/null |
    sed -n 's/.*Overall exposure level for tollgate.service: \([0-9]*\)\..*/\1/p')
[ "${exposure:-10}" -le 2 ] || fail "its exposure level is ${exposure:-unknown}"

step "cpack"
(cd build/tests && rm -f tollgate_*.deb && cpack >"$work/log" 2>&1) || { cat "$work/log" >&2; fail cpack; }
package=$(echo build/tests/tollgate_*.deb)
dpkg-deb -I "$package" >"$work/log"
grep -q 'Recommends: redis-server' "$work/log" && grep -q 'Depends:.*liburing2' "$work/log" || fail "what it depends on"

step "installing $(basename "$package")"
make_base
box=$(buildah from --security-opt seccomp="$PWD/docker/seccomp.json" "$base")
containers="$containers $box"
root=$(buildah mount "$box")
files() { (cd "$root" && find usr etc var/lib -xdev ! -path 'var/lib/dpkg/*' ! -path 'var/lib/apt/*' ! -type d | sort); }
run() { buildah run "$box" -- "$@"; }
run sh -c 'apt-get update && apt-get install -y --no-install-recommends adduser redis-server systemd dbus curl &&
    systemctl disable redis-server' >"$work/log" 2>&1 ||
    { tail "$work/log" >&2; fail "apt-get"; }
cp "$package" "$root/tmp/tollgate.deb"
run apt-get install -y --no-install-recommends /tmp/tollgate.deb >"$work/log" 2>&1 || { tail "$work/log" >&2; fail install; }
# What buildah's `run` prints is sometimes lost, about once in a hundred times, so no check here reads it.
mode() { chroot "$root" stat -c '%U:%G %a' "$1"; }
[ "$(mode /var/lib/tollgate)" = 'tollgate:tollgate 700' ] || fail "/var/lib/tollgate is $(mode /var/lib/tollgate)"
[ "$(mode /etc/tollgate)" = 'root:tollgate 750' ] || fail "/etc/tollgate is $(mode /etc/tollgate)"

step "under systemd: doctor, start, download, reload, restart, stop"
mkdir -p "$root/srv/media"
sh docker/catalogue.sh "$work/media" >"$work/log"
cp "$work/media/jingle.mp3" "$root/srv/media/"
cat >"$root/root/try" <<'TRY'
set -eux
cd /etc/tollgate
tollgate key generate --issuer shop --alg ES256 --directory /etc/tollgate >/root/issuers.yaml
chmod 644 shop-public.jwks
sed -e '/^issuers:/,$d' -e 's#^media_root:.*#media_root: /srv/media#' -e 's#^state_dir:.*#state_dir: /var/lib/tollgate#' \
    /usr/share/doc/tollgate/examples/tollgate.yaml >tollgate.yaml
cat /root/issuers.yaml >>tollgate.yaml
runuser -u tollgate -- tollgate doctor
systemctl enable --now tollgate.socket tollgate.service
systemctl is-active tollgate.service
get() { curl -sf --retry 9 --retry-delay 1 -o /root/got "$link" && cmp /root/got /srv/media/jingle.mp3; }
ready() { for attempt in $(seq 100); do runuser -u tollgate -- tollgate health && return || sleep 0.1; done; return 1; }
ready
runuser -u tollgate -- tollgate account open shop/alice --bytes 1MB --transaction order-1
link=$(tollgate link sign --key shop-private.jwks --issuer shop --account alice --path /jingle.mp3 --expires-in 1h \
    --origin http://127.0.0.1:8080)
get
: a reload with a broken key set is refused, and the node goes on
cp shop-public.jwks good
echo '{' >shop-public.jwks
if systemctl reload tollgate; then false; fi
get
cp good shop-public.jwks
systemctl reload tollgate
get
: a stopped node is started by the next client
systemctl stop tollgate.service
[ "$(systemctl show -P Result tollgate.service)" = success ]
get
[ "$(systemctl is-active tollgate.service)" = active ]
ready
runuser -u tollgate -- tollgate usage shop/alice --json | grep -q '"responses": *4'
systemctl restart tollgate
get
systemctl stop tollgate.socket tollgate.service
[ "$(systemctl show -P Result tollgate.service)" = success ]
touch /root/tried
TRY
cat >"$root/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=basic.target network.target
[Service]
Type=oneshot
StandardOutput=file:/root/log
StandardError=file:/root/log
ExecStart=/bin/bash /root/try
ExecStopPost=/bin/sh -c 'journalctl --no-pager -u tollgate -u tollgate.socket >/root/journal; systemctl poweroff --force'
TimeoutStartSec=120
UNIT
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../try.service "$root/etc/systemd/system/multi-user.target.wants/try.service"
timeout -k 5 180 systemd-nspawn --quiet --register=no --keep-unit --private-network --system-call-filter=@aio -D "$root" \
    --boot </dev/null >"$work/console" 2>&1 || true
[ -e "$root/root/tried" ] || { tail "$work/console" >&2; cat "$root/root/log" "$root/root/journal" >&2; fail "under systemd"; }
rm -r "$root/root" "$root/etc/systemd/system/try.service" "$root/etc/systemd/system/multi-user.target.wants/try.service"

step "removing it keeps configuration and state; purging keeps a journal alone"
run apt-get remove -y tollgate >"$work/log" 2>&1 || { tail "$work/log" >&2; fail remove; }
[ ! -e "$root/usr/bin/tollgate" ] && [ -e "$root/etc/tollgate/tollgate.yaml" ] && [ -e "$root/var/lib/tollgate/lane-a/journal" ] ||
    fail "what removing left"
run sh -c 'dpkg --purge tollgate >/tmp/purge 2>&1' || { tail "$root/tmp/purge" >&2; fail purge; }
grep -q 'holds a journal of what was billed and is kept' "$root/tmp/purge" || fail "purge does not say what it keeps"
[ ! -e "$root/etc/tollgate" ] && [ -e "$root/var/lib/tollgate/lane-a/journal" ] || fail "what purging left"

step "a purge where nothing was billed leaves nothing"
run sh -c 'rm -r /var/lib/tollgate && deluser --system --quiet tollgate'
files >"$work/before"
run dpkg -i /tmp/tollgate.deb >"$work/log" 2>&1 && run dpkg --purge tollgate >>"$work/log" 2>&1 || { cat "$work/log" >&2; fail "again"; }
files >"$work/after"
diff "$work/before" "$work/after" >&2 || fail "what purging left"
step "done"
