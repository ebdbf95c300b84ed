#!/bin/sh
# Instructions that the parts of a request take, counted by callgrind. Repeatable to 0.1 % on one machine, however busy.
#
#   bench/micro/run.sh                  builds, counts, prints a table
#   bench/micro/run.sh --save FILE      keeps the figures in FILE, too
#   bench/micro/run.sh --compare FILE   compares them with those of FILE; exit 1 where one grew by more than 1 %
#
# Needs valgrind (docker/deps.sh micro), redis-server and openssl. Takes about half a minute after the build.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
save= compare=
while [ $# -gt 0 ]; do
    case $1 in
    --save | --compare)
        [ $# -gt 1 ] || { echo "micro: $1 needs a FILE" >&2; exit 64; }
        [ "$1" = --save ] && save=$2 || compare=$2
        shift 2
        ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "micro: unknown option '$1'; see --help" >&2; exit 64 ;;
    esac
done
[ -z "$compare" ] || [ -r "$compare" ] || { echo "micro: $compare cannot be read; make it with --save" >&2; exit 66; }
command -v valgrind >/dev/null || { echo "micro: valgrind is missing; run docker/deps.sh micro" >&2; exit 69; }

cd "$root"
cmake --preset tests >/dev/null
ninja -C build/tests tollgate tollgate-micro >/dev/null
tollgate=$root/build/tests/tollgate micro=$root/build/tests/tollgate-micro

work=$(mktemp -d /tmp/tollgate-micro-XXXXXX)
process= redis=
finish() {
    for child in $process $redis; do
        kill -TERM "$child" 2>/dev/null && wait "$child" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
cd "$work"
mkdir keys media journal counts
head -c 4096 /dev/zero >media/small.mp3
head -c 1048576 /dev/zero >media/large.mp3
"$tollgate" key generate --issuer shop --alg HS256 --directory keys >issuers.yaml
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
    -keyout tls.pem.key -out tls.pem 2>/dev/null
{ printf 'media_root: media\nstate_dir: state\nlisten: 127.0.0.1:0\nworkers: 1\nlog_level: warning\n'
    printf 'listen_tls: 127.0.0.1:0\ncertificates: tls.pem\n'
    printf 'redis: unix:%s/redis.sock\n' "$work"; cat issuers.yaml; } >tollgate.yaml

# Not the embedded Redis, because the node watches that by pidfd_open, which valgrind does not know.
redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" --save '' >redis.log &
redis=$!

# A node without valgrind opens the account.
"$tollgate" serve 2>serve.log &
process=$!
tries=0
until "$tollgate" health >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat serve.log >&2; exit 69; }
    sleep 0.1
done
"$tollgate" account open shop/alice --bytes 1TB --transaction micro >/dev/null
kill -TERM "$process"
wait "$process" || true
process=

link_of() {
    "$tollgate" link sign --key keys/shop-private.jwks --issuer shop --account alice --path "$1" --expires-in 1h 2>/dev/null |
        sed 's|^https\{0,1\}://[^/]*||'
}
count() {
    timeout 600 setarch -R valgrind --tool=callgrind --collect-atstart=no --separate-threads=yes --callgrind-out-file="counts/$1.%p" \
        "$micro" "$@" >"$1.log" 2>&1 || { tail -n 30 "$1.log" >&2; exit 70; }
}
count parts journal
count exchanges tollgate.yaml "$(link_of /small.mp3)" "$(link_of /large.mp3)"

# A dump has the name and count of its stretch, and the instructions of each thread, of which only one has any.
for dump in counts/*; do
    awk '/^desc: Trigger: Client Request: / { name = $5; times = $6 }
        /^(totals|summary): / { if ($2 > instructions) instructions = $2 }
        END { if (times > 0 && instructions > 0) printf "%s %.1f\n", name, instructions / times }' "$dump"
done | sort -k 1,1 -k 2,2n | awk '$1 != last { print; last = $1 }' >figures # the least of each
[ -z "$save" ] || cp figures "$save"

if [ -n "$compare" ]; then
    awk 'NR == FNR { before[$1] = $2; next }
        { ratio = $1 in before ? $2 / before[$1] : 0
          printf "%-24s %12.1f %12.1f  %.4f%s\n", $1, before[$1], $2, ratio, (ratio > 1.01 ? "  more than 1.01" : "")
          worse = worse || (ratio > 1.01) }
        END { exit worse }' "$compare" figures
else
    awk '{ printf "%-24s %12.1f instructions\n", $1, $2 }' figures
fi
