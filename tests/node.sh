# A node for a script that tries the product as its users do. Sourced, with `name` and `root` set. It makes a key and
# the directory $work, which is removed at the end along with the processes. The script then writes $work/tollgate.yaml
# and calls start_node.
# shellcheck shell=sh disable=SC2034,SC2154 # set here and used there, and the other way round

# What is left of the arguments: none, or a question for the comment that the script begins with.
case ${1:-} in
'') ;;
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
*) echo "$name: unknown option '$1'; see --help" >&2; exit 64 ;;
esac

tollgate=$root/build/tests/tollgate
[ -x "$tollgate" ] || { echo "$name: $tollgate is missing; run tests/run.sh --quick" >&2; exit 69; }

work=$(mktemp -d "/tmp/tollgate-$name-XXXXXX")
processes= # the last one that was started comes first
finish() {
    for process in $processes; do
        kill -TERM "$process" 2>/dev/null && wait "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
step() { echo "$name: $*"; }
fail() { echo "$name: FAILED: $*" >&2; tail -n 20 "$work"/*.log >&2; exit 1; }
# free_port: prints a port of 127.0.0.1 on which nothing listens, for those who must know it before the node does
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# until_it COMMAND...: repeats it until it succeeds, for 20 seconds and while the last started process lives
until_it() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        kill -0 "${processes%% *}" 2>/dev/null && [ $tries -lt 100 ] || fail "in vain: $*"
        sleep 0.2
    done
}

media=$root/build/catalogue/media
sh "$root/docker/catalogue.sh" "$media" >/dev/null
mkdir "$work/keys"
"$tollgate" key generate --issuer shop --alg HS256 --directory "$work/keys" >/dev/null

# start_node: starts a node by $work/tollgate.yaml and sets port, and port_tls where it listens for TLS.
start_node() {
    export TOLLGATE_CONFIG="$work/tollgate.yaml"
    "$tollgate" serve 2>"$work/node.log" &
    processes="$! $processes"
    until_it "$tollgate" health
    port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' "$work/node.log")
    port_tls=$(sed -n 's/.*speaking TLS on 127.0.0.1:\([0-9]*\).*/\1/p' "$work/node.log")
}
