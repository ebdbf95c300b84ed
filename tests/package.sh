#!/bin/sh
# Installs what the build made, and looks at it as a packager and an operator would: manual, completion, units, the
# Debian package installed, used, removed and purged in a container of its own.
# Needs root and the packages of `docker/deps.sh image`. One line for each step; the first that fails ends it.
set -eu
cd "$(dirname "$0")/.."
. tests/container.sh

step() { echo "package: $*"; }
fail() { echo "package: FAILED: $*" >&2; exit 1; }

step "building, and installing into a directory"
cmake --preset release >"$work/log" && ninja -C build >>"$work/log" || { tail "$work/log" >&2; fail "the build"; }
DESTDIR=$work/prefix cmake --install build --prefix /usr >"$work/log"
installed=$work/prefix/usr
for file in bin/tollgate bin/tollgate-bench share/man/man1/tollgate.1.gz share/man/man5/tollgate.yaml.5.gz \
    share/bash-completion/completions/tollgate share/doc/tollgate/examples/tollgate.yaml \
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
install -D -m 0755 /bin/true "$work/root/bin/kill"
for unit in sysinit.target basic.target shutdown.target sockets.target multi-user.target network-online.target time-sync.target; do
    mkdir -p "$work/root/usr/lib/systemd/system"
    printf '[Unit]\nDescription=%s\n' "$unit" >"$work/root/usr/lib/systemd/system/$unit" # an empty one is a masked one
done
install -D -m 0644 -t "$work/root/usr/lib/systemd/system" "$installed"/lib/systemd/system/tollgate.*
systemd-analyze verify --root="$work/root" --man=no --recursive-errors=yes tollgate.service tollgate.socket >"$work/log" 2>&1 || true
grep -v -E 'User tollgate not found|^$' "$work/log" | grep -E 'tollgate\.(service|socket)' >&2 && fail "a unit"
exposure=$(systemd-analyze security --offline=yes --root="$work/root" tollgate.service 2>/dev/null |
    sed -n 's/.*Overall exposure level for tollgate.service: \([0-9]*\)\..*/\1/p')
[ "${exposure:-10}" -le 2 ] || fail "its exposure level is ${exposure:-unknown}"

step "cpack"
(cd build && rm -f tollgate_*.deb && cpack >"$work/log" 2>&1) || { cat "$work/log" >&2; fail cpack; }
package=$(echo build/tollgate_*.deb)
dpkg-deb -I "$package" >"$work/log"
grep -q 'Recommends: redis-server' "$work/log" && grep -q 'Depends:.*liburing2' "$work/log" || fail "what it depends on"

step "installing $(basename "$package")"
make_base
box=$(buildah from --security-opt seccomp="$PWD/docker/seccomp.json" "$base")
containers="$containers $box"
root=$(buildah mount "$box")
files() { (cd "$root" && find usr etc var/lib -xdev ! -path 'var/lib/dpkg/*' ! -path 'var/lib/apt/*' ! -type d | sort); }
run() { buildah run "$box" -- "$@"; }
run sh -c 'apt-get update && apt-get install -y --no-install-recommends adduser redis-server' >"$work/log" 2>&1 ||
    { tail "$work/log" >&2; fail "apt-get"; }
cp "$package" "$root/tmp/tollgate.deb"
run sh -c 'ls /var/lib/dpkg/info' >"$work/before.info"
run apt-get install -y --no-install-recommends /tmp/tollgate.deb >"$work/log" 2>&1 || { tail "$work/log" >&2; fail install; }
[ "$(run stat -c '%U %a' /var/lib/tollgate)" = 'tollgate 700' ] || fail "/var/lib/tollgate"
[ "$(run stat -c '%U:%G %a' /etc/tollgate)" = 'root:tollgate 750' ] || fail "/etc/tollgate"

step "using it as its user"
install -d "$root/srv/media"
cat >"$root/tmp/use" <<'USE'
set -eu
cd /etc/tollgate
tollgate key generate --issuer shop --alg ES256 --directory /etc/tollgate >/tmp/issuers.yaml
chmod 644 shop-public.jwks
sed -e '/^issuers:/,$d' -e 's#^media_root:.*#media_root: /srv/media#' -e 's#^state_dir:.*#state_dir: /var/lib/tollgate#' \
    -e 's#^listen:.*#listen: 127.0.0.1:0#' /usr/share/doc/tollgate/examples/tollgate.yaml >tollgate.yaml
cat /tmp/issuers.yaml >>tollgate.yaml
runuser -u tollgate -- tollgate doctor
setpriv --reuid tollgate --regid tollgate --init-groups tollgate serve 2>/tmp/log &
node=$!
trap 'kill -KILL $node 2>/dev/null || true' EXIT
for attempt in $(seq 100); do runuser -u tollgate -- tollgate health && break || sleep 0.1; done >/dev/null 2>&1
runuser -u tollgate -- tollgate account open shop/alice --bytes 1MB --transaction order-1
kill -TERM $node
wait $node
grep 'the journal is closed' /tmp/log
USE
run sh /tmp/use >"$work/log" 2>&1 || { cat "$work/log" "$root/tmp/log" >&2 || true; fail "using it"; }

step "removing it keeps configuration and state; purging keeps a journal alone"
run apt-get remove -y tollgate >"$work/log" 2>&1 || { tail "$work/log" >&2; fail remove; }
[ ! -e "$root/usr/bin/tollgate" ] && [ -e "$root/etc/tollgate/tollgate.yaml" ] && [ -e "$root/var/lib/tollgate/journal" ] ||
    fail "what removing left"
run dpkg --purge tollgate >"$work/log" 2>&1 || { tail "$work/log" >&2; fail purge; }
grep -q 'holds a journal of what was billed and is kept' "$work/log" || fail "purge does not say what it keeps"
[ ! -e "$root/etc/tollgate" ] && [ -e "$root/var/lib/tollgate/journal" ] || fail "what purging left"

step "a purge where nothing was billed leaves nothing"
run sh -c 'rm -r /var/lib/tollgate && deluser --system --quiet tollgate'
files >"$work/before"
run dpkg -i /tmp/tollgate.deb >"$work/log" 2>&1 && run dpkg --purge tollgate >>"$work/log" 2>&1 || { cat "$work/log" >&2; fail "again"; }
files >"$work/after"
diff "$work/before" "$work/after" >&2 || fail "what purging left"
step "done"
