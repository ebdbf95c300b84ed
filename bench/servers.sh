# What the comparisons share: a network namespace under reno, a directory that is removed at the end along with the
# processes, and servers that are started on a core and waited for. Sourced, with `script` and `root` set.
# shellcheck shell=sh disable=SC2034,SC2154 # set here and used there, and the other way round
say() { echo "$*" >&2; }
die() { say "$script.sh: $*"; exit 70; }

# enter GROUPS ARGUMENT...: installs these groups of packages, builds Release, and starts the script again in a network
# namespace of its own, as root. Called there, it sets the namespace up.
enter() {
    groups=$1
    shift
    if [ -z "${TOLLGATE_BENCH_INSIDE:-}" ]; then
        [ "$(id -u)" -eq 0 ] || die 'only root can make a network namespace; run it with sudo'
        [ "$(nproc)" -ge 2 ] || die 'two cores are needed: one for the server, one for its clients'
        # shellcheck disable=SC2086 # a list of names, split on purpose
        sh "$root/docker/deps.sh" $groups
        [ -x "$root/build/tollgate" ] && [ -x "$root/build/tollgate-bench" ] || {
            say 'building Release into build/'
            cmake -S "$root" -B "$root/build" -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
            ninja -C "$root/build" tollgate tollgate-bench >/dev/null
        }
        TOLLGATE_BENCH_INSIDE=yes exec unshare --net sh "$0" "$@"
    fi
    ip link set lo up
    sysctl -q -w net.ipv4.tcp_congestion_control=reno net.core.somaxconn=4096 net.ipv4.ip_local_port_range='10000 65000'
    [ "$(cat /proc/sys/net/ipv4/tcp_congestion_control)" = reno ] || die 'congestion control is not reno'
    ulimit -n "$(ulimit -Hn)"
}

# make_directory PARENT: makes $directory, which is removed at the end along with the processes.
pids=
finish() {
    for pid in $pids; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$directory"
}
make_directory() {
    directory=$(mktemp -d "$1/tollgate-$script-XXXXXX")
    trap finish EXIT
    trap 'exit 130' INT TERM
}

# make_keys: makes a certificate for 127.0.0.1, $directory/tls.pem, and the shop's key set, $jwks.
make_keys() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=IP:127.0.0.1 -keyout "$directory/tls.pem.key" -out "$directory/tls.pem" 2>/dev/null
    mkdir "$directory/keys"
    "$root/build/tollgate" key generate --issuer shop --alg HS256 --directory "$directory/keys" >/dev/null
    jwks=$directory/keys/shop-private.jwks
}

start() { # NAME CORE COMMAND...: remembers the process id in pid_NAME
    process=$1 core=$2
    shift 2
    taskset -c "$core" "$@" >"$directory/$process.out" 2>&1 &
    eval "pid_$process=$!"
    pids="$pids $!"
}
await() { # NAME COMMAND...
    process=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { cat "$directory/$process.out" "$directory"/*.log >&2; die "$process does not answer after 20 s"; }
        sleep 0.2
    done
}
