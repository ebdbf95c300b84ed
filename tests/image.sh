#!/bin/sh
# Builds the container image with buildah and checks it: its user and size, what the node says under Docker's seccomp
# profile and under ours, and a paid download from the image's own program in a chroot of it.
# Needs root and the packages of `docker/deps.sh image`. One line for each step; the first that fails ends it.
set -eu
cd "$(dirname "$0")/.."

image=localhost/tollgate
. tests/container.sh

step() { echo "image: $*"; }
fail() { echo "image: FAILED: $*" >&2; exit 1; }

# has FILE TEXT: expects the text in the file
has() { grep -qF -- "$2" "$1" || { cat "$1" >&2; fail "no \"$2\" in the above"; }; }

# container NAME_OF_VARIABLE OPTION...: makes a working container of the image
container() {
    variable=$1
    shift
    made=$(buildah from "$@" "$image")
    containers="$containers $made"
    eval "$variable=\$made"
}

make_base
step "building"
buildah build --isolation chroot --pull-never --build-arg BASE="$base" -f docker/Dockerfile -t "$image" . >"$work/log" 2>&1 ||
    { tail -n 40 "$work/log" >&2; fail "buildah build"; }

step "its user, command and health check"
buildah inspect --type image "$image" >"$work/image.json"
[ "$(jq -r .OCIv1.config.User "$work/image.json")" = tollgate ] || fail "it does not run as tollgate"
[ "$(jq -c '.OCIv1.config | [.Entrypoint, .Cmd]' "$work/image.json")" = '[["tollgate"],["serve"]]' ] || fail "its command"
jq -e '.OCIv1.config.Volumes | has("/var/lib/tollgate")' "$work/image.json" >/dev/null || fail "its volume"
grep -q '^HEALTHCHECK .* CMD \["tollgate", "health"\]$' docker/Dockerfile || fail "its health check"

container plain
root=$(buildah mount "$plain")
step "no compiler, no headers, no package lists; no set-uid program of ours"
for name in usr/bin/gcc usr/bin/cmake usr/include/liburing.h usr/bin/tollgate-bench source; do
    [ ! -e "$root/$name" ] || fail "/$name is in the image"
done
[ -z "$(ls "$root/var/lib/apt/lists")" ] || fail "package lists are in the image"

below=$(buildah from "$base")
containers="$containers $below"
added_kib=$(($(du -sk "$root" | cut -f 1) - $(du -sk --exclude=var/lib/apt/lists --exclude=var/cache/apt "$(buildah mount "$below")" | cut -f 1)))
step "adds $added_kib KiB to its base"
[ "$added_kib" -lt 51200 ] || fail "that is more than 50 MiB"

step "the doctor under a profile that refuses io_uring"
jq '.syscalls |= map(select(.names | index("io_uring_setup") | not))' docker/seccomp.json >"$work/default.json"
container filtered --security-opt seccomp="$work/default.json"
# What buildah's `run` prints is sometimes lost, about once in a hundred times, so the doctor writes into the container.
if buildah run "$filtered" -- sh -c 'tollgate doctor >/tmp/doctor 2>&1'; then fail "a node can run there"; fi
cp "$(buildah mount "$filtered")/tmp/doctor" "$work/doctor"
has "$work/doctor" 'FAIL     io_uring: io_uring_setup: '
has "$work/doctor" ': a seccomp filter refuses it'
has "$work/doctor" docker/seccomp.json

step "the doctor under docker/seccomp.json"
container ours --security-opt seccomp="$PWD/docker/seccomp.json"
buildah run "$ours" -- sh -c 'grep -q "^Seccomp:.2$" /proc/self/status && tollgate doctor >/tmp/doctor 2>&1' ||
    { cat "$(buildah mount "$ours")/tmp/doctor" >&2; fail "no node can run there"; }
cp "$(buildah mount "$ours")/tmp/doctor" "$work/doctor"
has "$work/doctor" 'ok       io_uring: a ring was made, enabled and used'

step "docker/seccomp.json is Docker's default plus exactly three calls"
(cd "$work" && apt-get download golang-github-docker-docker-dev) >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "apt-get download"; }
dpkg-deb --fsys-tarfile "$work"/golang-github-docker-docker-dev_*.deb |
    tar -xO ./usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json >"$work/docker.json"
# One line for each call and condition, so that the profiles' grouping and order do not matter.
rules='def plain: if . == null or . == {} or . == [] or . == "" then null else . end;
    .syscalls[] | . as $rule | .names[] |
    [., $rule.action, ($rule.errnoRet | plain), ($rule.args | plain | if . then map([.index, .value, .op]) else . end),
     ($rule.includes | plain), ($rule.excludes | plain)]'
jq -c "$rules" "$work/docker.json" | grep -v '^\["io_uring_' | sort -u >"$work/theirs"
jq -c "$rules" docker/seccomp.json | sort -u >"$work/ours"
for call in io_uring_enter io_uring_register io_uring_setup; do
    echo "[\"$call\",\"SCMP_ACT_ALLOW\",null,null,null,null]" >>"$work/theirs"
done
sort -o "$work/theirs" "$work/theirs"
diff "$work/theirs" "$work/ours" >&2 || fail "the rules differ, as above"
[ "$(jq -c '[.defaultAction, .archMap]' "$work/docker.json")" = "$(jq -c '[.defaultAction, .archMap]' docker/seccomp.json)" ] ||
    fail "the default action or the architectures differ"

step "compose.yaml's keys are made by the image, and its node starts on docker/tollgate.yaml"
[ -z "$(ls "$root/etc/tollgate/keys" "$root/etc/tollgate/signing" | grep jwks)" ] || fail "a key is shipped in the image"
python3 - docker/compose.yaml >"$work/keys.sh" <<'PYTHON' || fail "docker/compose.yaml: keys"
import sys, yaml
services = yaml.safe_load(open(sys.argv[1]))["services"]
node, keys = services["tollgate"], services["keys"]
assert keys["image"] == node["image"] and keys["entrypoint"] == ["sh", "-ec"] and len(keys["command"]) == 1
assert node["depends_on"]["keys"]["condition"] == "service_completed_successfully"
assert set(keys["volumes"]) == {"signing:/etc/tollgate/signing", "keys:/etc/tollgate/keys"}
assert "keys:/etc/tollgate/keys:ro" in node["volumes"] and not any("signing" in volume for volume in node["volumes"])
print(keys["command"][0])
PYTHON
make_keys() { chroot --userspec=tollgate "$root" sh -ec "$(cat "$work/keys.sh")" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "keys"; }; }
make_keys
mkdir -p "$work/keys"
cp "$root/etc/tollgate/signing/shop-private.jwks" "$work/keys/"
make_keys # a second call must leave the keys as they are
cmp "$root/etc/tollgate/signing/shop-private.jwks" "$work/keys/shop-private.jwks" || fail "the keys were made twice"
rm -r "$root/etc/tollgate/signing" # the node must work without it
cp docker/tollgate.yaml "$root/etc/tollgate/"
chroot --userspec=tollgate "$root" tollgate serve --check-config >/dev/null
python3 - docker/compose.yaml <<'PYTHON' || fail "docker/compose.yaml"
import sys, yaml
services = yaml.safe_load(open(sys.argv[1]))["services"]
node, redis = services["tollgate"], services["redis"]
assert "seccomp=seccomp.json" in node["security_opt"], "seccomp"
assert {"nofile", "memlock"} <= set(node["ulimits"]), "ulimits"
assert node["build"]["dockerfile"] == "docker/Dockerfile" and "state:/var/lib/tollgate" in node["volumes"]
words = redis["command"]
assert words[words.index("--appendonly") + 1] == "yes" and words[words.index("--maxmemory-policy") + 1] == "noeviction"
PYTHON

step "compose takes both files, and the nodes of compose.ha.yaml start on docker/tollgate.ha.yaml"
# Compose 1.29, Debian's, does not know the key `name` yet.
for file in compose.yaml compose.ha.yaml; do
    (cd docker && sed '/^name:/d' "$file" | docker-compose -f - config -q) || fail "docker/$file"
done
cp docker/tollgate.ha.yaml "$root/etc/tollgate/ha.yaml"
TOLLGATE_NODE=node-1 chroot --userspec=tollgate "$root" tollgate serve --check-config --config /etc/tollgate/ha.yaml >/dev/null
rm "$root/etc/tollgate/ha.yaml"
python3 - docker/compose.ha.yaml <<'PYTHON' || fail "docker/compose.ha.yaml"
import sys, yaml
services = yaml.safe_load(open(sys.argv[1]))["services"]
names = {kind: [name for name in services if name.startswith(kind + "-")] for kind in ("tollgate", "redis", "sentinel")}
assert {kind: len(found) for kind, found in names.items()} == {"tollgate": 2, "redis": 3, "sentinel": 3}, names
assert len({services[name]["environment"]["TOLLGATE_NODE"] for name in names["tollgate"]}) == 2
volumes = [volume.split(":")[0] for service in services.values() for volume in service["volumes"]]
assert all(volumes.count(f"{kind}-{i}") == 1 for kind, count in (("state", 2), ("redis", 3), ("sentinel", 3)) for i in range(1, count + 1))
for name in names["redis"]:
    words = services[name]["command"]
    assert words[words.index("--appendonly") + 1] == "yes" and words[words.index("--maxmemory-policy") + 1] == "noeviction"
    assert ("--replicaof" in words) == (name != "redis-1"), name
PYTHON

step "a paid download from the image's program, in a chroot"
sed -i -e 's/^redis: .*/redis: embedded/' -e 's/^listen: .*/listen: "127.0.0.1:0"/' "$root/etc/tollgate/tollgate.yaml"
sh docker/catalogue.sh "$work/media" >/dev/null
cp "$work/media/jingle.mp3" "$root/srv/media/"
cat >"$work/inside" <<'INSIDE'
set -eu
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
exec chroot --userspec=tollgate "$1" tollgate serve
INSIDE
unshare --mount --pid --fork sh "$work/inside" "$root" >/dev/null 2>"$work/log" &
node=$!
inside() { chroot --userspec=tollgate "$root" tollgate "$@"; }
for attempt in $(seq 300); do
    inside health >/dev/null 2>&1 && break
    kill -0 "$node" 2>/dev/null || { cat "$work/log" >&2; fail "the node ended"; }
    [ "$attempt" -lt 300 ] || { cat "$work/log" >&2; fail "the node does not become ready"; }
    sleep 0.1
done
port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' "$work/log")
inside account open shop/alice --bytes 1MB --transaction order-1 >/dev/null
cp "$work/keys/shop-private.jwks" "$root/tmp/"
link=$(chroot "$root" tollgate link sign --key /tmp/shop-private.jwks --issuer shop --account alice --path /jingle.mp3 \
    --expires-in 1h --origin "http://127.0.0.1:$port")
curl -sf -o "$work/got.mp3" "$link" || fail "curl"
cmp "$work/got.mp3" "$work/media/jingle.mp3" || fail "other bytes"
bytes=$(wc -c <"$work/got.mp3")
billed=$(inside usage shop/alice --json | jq .totals.bytes)
[ "$billed" = "$bytes" ] || fail "$bytes bytes arrived and $billed were billed"
pkill -TERM -P "$node"
wait "$node" || fail "the node ended with $?"
node=
has "$work/log" "the journal is closed; all of its records are posted to Redis"
step "done: $bytes bytes arrived, and $billed were billed"
