#!/bin/sh
# Measures Tollgate with everything on (token, admission, metering, journal, embedded Redis) beside Debian's nginx and
# lighttpd, which serve the same files to anyone, and beside nginx + Lua + Redis doing the same job.
#
#   bench/compare.sh             five rounds of five seconds (some 12 minutes)
#   bench/compare.sh --quick     three rounds of two (some two and a half minutes)
#   bench/compare.sh --json      prints rows {work, metric, tollgate, peers, ratio, bar, ok} as JSON lines
#   bench/compare.sh --only=TEXT only the works whose name contains TEXT, of: 4 KiB file, 64 KiB range, 5 MiB file,
#                                range latency, TLS, idle connections, unique links
#
# Over TLS: 1.3, AES-128-GCM, an ECDSA certificate, records made in user space by both.
# Unique links: tollgate-bench signs a link for each request before the clock starts, with one key for both servers. Each
# is verified (JWS HS256), and Redis is asked for the account and the link's revocation, in one function call.
# One server worker on core 0; the client and Redis on core 1; 64 connections; a network namespace of its own under reno.
# CPU is all that serving costs: the server, its io-wq threads and its Redis, from /proc. Rounds are interleaved; the
# table shows medians and, in brackets, the smallest and largest round. Exit 1 where a bar is missed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
script=compare
. "$here/servers.sh"

rounds=5 seconds=5 json=no only=
for argument in "$@"; do
    case $argument in
    --quick) rounds=3 seconds=2 ;;
    --json) json=yes ;;
    --only=*) only=${argument#--only=} ;;
    -h | --help) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "compare.sh: unknown option '$argument'; see --help" >&2; exit 64 ;;
    esac
done
works='4 KiB file, 64 KiB range, 5 MiB file, range latency, TLS, idle connections, unique links'
case $works in
*"$only"*) ;;
*) echo "compare.sh: --only=$only names none of: $works" >&2; exit 64 ;;
esac

enter 'run build demo bench' "$@"
say "congestion control: $(cat /proc/sys/net/ipv4/tcp_congestion_control); $(uname -r); rounds: $rounds of ${seconds} s"

make_directory /tmp

# ---- files: encoded MP3s, repeated and cut to the size
media=$directory/media
mkdir "$media"
sh "$root/docker/catalogue.sh" "$root/build/catalogue/media" >/dev/null
longest=$(find "$root/build/catalogue/media" -name '*.mp3' -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
while cat "$longest"; do :; done 2>/dev/null | head -c 5242880 >"$media/5m.mp3"
head -c 4096 "$longest" >"$media/4k.mp3"
chmod -R a+rX "$directory"

# ---- servers
tollgate=$root/build/tollgate
make_keys
member() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$jwks"; } # of the one key in it
secret=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
fill_in() {
    sed -e "s|DIRECTORY|$directory|g" -e "s|MEDIA|$media|g" -e "s|SECRET|$secret|g" -e "s|PEERS|$here/peers|g" \
        -e "s|KEY_ID|$(member kid)|g" -e "s|KEY|$(member k)|g" "$here/peers/$1" >"$directory/$1"
}
for peer in nginx.conf nginx-lua.conf lighttpd.conf; do fill_in $peer; done

cat >"$directory/tollgate.yaml" <<YAML
listen: 127.0.0.1:8100
listen_tls: 127.0.0.1:8110
certificates: tls.pem
public_origin: http://127.0.0.1:8100
media_root: media
state_dir: state
workers: 1
connections_max: 20000
issuers:
  - id: shop
    iss: shop
    keys: keys/shop-private.jwks
    prefixes: [/]
YAML
export TOLLGATE_CONFIG="$directory/tollgate.yaml"
start tollgate 0 "$tollgate" serve
start nginx 0 nginx -c "$directory/nginx.conf" -g 'daemon off;'
start lighttpd 0 lighttpd -D -f "$directory/lighttpd.conf"
start redis 1 redis-server --port 0 --unixsocket "$directory/redis.sock" --unixsocketperm 777 --dir "$directory" \
    --appendonly yes --save ''
await redis redis-cli -s "$directory/redis.sock" ping
redis-cli -s "$directory/redis.sock" hset account:bench state active balance 1000000000000000 used 0 >/dev/null
redis-cli -s "$directory/redis.sock" -x function load <"$here/peers/judge.lua" >/dev/null
start nginx_lua 0 nginx -c "$directory/nginx-lua.conf" -g 'daemon off;'
await tollgate "$tollgate" health
embedded=$(pgrep -P "$pid_tollgate" redis-server) || die 'the embedded Redis is not there'
taskset -a -p -c 1 "$embedded" >/dev/null
"$tollgate" account open shop/bench --plan postpaid >/dev/null

sign() { "$tollgate" link sign --key "$jwks" --issuer shop --account bench \
    --expires-in 1h --origin "${2:-http://127.0.0.1:8100}" ${3:+--jti "$3"} --path "$1"; }
sign_lua() { # PORT PATH
    expires=$(($(date +%s) + 3600))
    signature=$(printf '%s|bench|%s' "$2" "$expires" | openssl dgst -sha1 -hmac "$secret" -binary | base64 |
        sed -e 's/+/%2B/g' -e 's/=/%3D/g')
    echo "http://127.0.0.1:$1$2?acct=bench&exp=$expires&sig=$signature"
}
url() { # SERVER PATH
    case $1 in
    tollgate) sign "$2" ;;
    tollgate_tls) sign "$2" https://127.0.0.1:8110 ;;
    nginx) echo "http://127.0.0.1:8101$2" ;;
    nginx_tls) echo "https://127.0.0.1:8111$2" ;;
    lighttpd) echo "http://127.0.0.1:8102$2" ;;
    lua) sign_lua 8103 "$2" ;;
    lua_cached) sign_lua 8104 "$2" ;;
    lua_jws) sign "$2" http://127.0.0.1:8105 auto ;;
    esac
}
# processes SERVER: prints the ids of the processes whose CPU time is the cost of serving.
processes() {
    case $1 in
    tollgate | tollgate_tls) echo "$pid_tollgate $embedded" ;;
    nginx | nginx_tls) echo "$pid_nginx $(pgrep -P "$pid_nginx")" ;;
    lighttpd) echo "$pid_lighttpd" ;;
    lua | lua_cached | lua_jws) echo "$pid_nginx_lua $(pgrep -P "$pid_nginx_lua") $pid_redis" ;;
    esac
}
redis_of() {
    case $1 in
    tollgate*) echo "$embedded" ;;
    *) echo "$pid_redis" ;;
    esac
}
# cpu_ticks SERVER [PID...]: prints the CPU time of all threads in clock ticks; io-wq's threads are the server's.
cpu_ticks() {
    total=0
    [ $# -gt 1 ] || set -- "$1" $(processes "$1")
    for pid in $(shift; echo "$@"); do
        set -- "$1" $(sed 's/.*) //' "/proc/$pid/stat")
        total=$((total + ${13} + ${14}))
    done
    echo $total
}
hertz=$(getconf CLK_TCK)

export CURL_CA_BUNDLE="$directory/tls.pem"
for server in tollgate tollgate_tls nginx nginx_tls lighttpd lua lua_cached lua_jws; do
    for path in /4k.mp3 /5m.mp3; do
        link=$(url $server $path)
        await $server curl -fsS -o /dev/null "$link"
        curl -fsS "$link" | cmp - "$media$path" || die "$server does not deliver $path"
    done
done
for server in tollgate tollgate_tls nginx nginx_tls lighttpd; do
    for first in 0 100000; do
        curl -fsS -r "$first-$((first + 65535))" "$(url $server /5m.mp3)" >"$directory/part"
        tail -c "+$((first + 1))" "$media/5m.mp3" | head -c 65536 | cmp - "$directory/part" ||
            die "$server does not deliver the range from $first"
    done
done

# The two servers that get unique links must refuse for the same reasons.
"$tollgate" link revoke shop/bench --jti revoked >/dev/null
redis-cli -s "$directory/redis.sock" set revoked:revoked 1 >/dev/null
refused() { # SERVER STATUS WHAT URL
    status=$(curl -s -o /dev/null -w '%{http_code}' "$4")
    [ "$status" = "$2" ] || die "$1 answers a link $3 with $status"
}
for server in tollgate:8100 lua_jws:8105; do
    origin=http://127.0.0.1:${server#*:} server=${server%:*}
    link=$(sign /4k.mp3 "$origin" auto)
    flipped=$(echo "$link" | sed -e 's/\.A\([^.]*\)$/.B\1/;t' -e 's/\.[^.]\([^.]*\)$/.A\1/')
    refused $server 403 'with another signature' "$flipped"
    refused $server 403 'to another file' "$origin/5m.mp3?${link#*\?}"
    refused $server 410 'that is revoked' "$(sign /4k.mp3 "$origin" revoked)"
done

# ---- measuring
# measure WORK SERVER PATH CONNECTIONS [RANGE]: adds "WORK SERVER us_per_request s_per_GB requests_per_s median_us" to
# the samples. A round with any error is not a measurement.
measure() {
    work=$1 server=$2 path=$3 connections=$4 range=${5:-}
    link=$(url "$server" "$path")
    before=$(cpu_ticks "$server")
    taskset -c 1 wrk -t1 -c"$connections" -d"${seconds_of:-$seconds}s" --latency ${range:+-H "Range: bytes=$range"} "$link" \
        >"$directory/wrk" 2>&1
    after=$(cpu_ticks "$server")
    if grep -qE 'Socket errors|Non-2xx' "$directory/wrk"; then
        cat "$directory/wrk" >&2
        die "$server answered with errors in '$work'"
    fi
    case $path in /4k*) size=4096 ;; *) size=5242880 ;; esac
    [ -z "$range" ] || size=65536
    awk -v ticks=$((after - before)) -v hertz="$hertz" -v size=$size -v work="$work" -v server="$server" '
        function us(text) { return text ~ /us$/ ? text + 0 : text ~ /ms$/ ? text * 1000 : text * 1000000 }
        $1 == "50%" { median = us($2) }
        / requests in / { requests = $1 }
        /^Requests\/sec/ { rate = $2 }
        END {
            cpu = ticks / hertz
            printf "%s\t%s\t%.3f\t%.5f\t%.0f\t%.1f\n", work, server, cpu * 1e6 / requests,
                cpu * 1e9 / (requests * size), rate, median
        }' "$directory/wrk" >>"$directory/samples"
}
# measure_unique SERVER PORT: the same columns, and how busy the two cores were. Work that serving leaves for later,
# such as posting and the end of idle windows, is waited for and counted. Any answer but 200 ends the script.
measure_unique() {
    server=$1 redis=$(redis_of "$1") links=$((seconds * 180000))
    [ $links -le 1000000 ] || links=1000000
    before=$(cpu_ticks "$server") redis_before=$(cpu_ticks "$server" "$redis")
    taskset -c 1 "$root/build/tollgate-bench" --quiet --connections 64 --duration "${seconds}s" --unique-links=$links \
        --key "$jwks" --issuer shop --account bench "http://127.0.0.1:$2/4k.mp3" >"$directory/unique" 2>&1 ||
        { cat "$directory/unique" >&2; die "$server answered with errors in 'unique links'"; }
    redis_after=$(cpu_ticks "$server" "$redis")
    served=$(cpu_ticks "$server")
    sleep 3
    awk -v ticks=$(($(cpu_ticks "$server") - before)) -v served=$((served - before)) \
        -v redis=$((redis_after - redis_before)) -v hertz="$hertz" -v links=$links -v server="$server" '
        / requests in / { requests = $1; elapsed = $4 }
        $1 == "requests/s" { rate = $2 }
        $1 == "client" { client = $3 }
        $1 == "latency" { median = $4 }
        END {
            if (requests == links) print server ": the links ran out" >"/dev/stderr"
            printf "unique links\t%s\t%.3f\t0\t%.0f\t%.1f\t%.0f\t%.0f\n", server, ticks / hertz * 1e6 / requests, rate,
                median, 100 * (served - redis) / hertz / elapsed, 100 * (redis / hertz + client) / elapsed
        }' "$directory/unique" >>"$directory/samples"
}
wanted() { # WORK
    case $1 in *"$only"*) return 0 ;;
    *) return 1 ;;
    esac
}

: >"$directory/samples"
# ---- idle connections, first: after the load they would lie in memory that it has touched
memory_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
if wanted 'idle connections'; then
    say '10,000 idle connections'
    idle=10000
    before=$(memory_kib "$pid_tollgate")
    taskset -c 1 "$root/build/tollgate-bench" --idle --connections $idle --duration 4s --quiet \
        "$(sign /4k.mp3)" >"$directory/idle" 2>&1 &
    holder=$!
    sleep 3
    after=$(memory_kib "$pid_tollgate")
    held=$(ss -Htn state established '( sport = :8100 )' | wc -l)
    wait $holder || { cat "$directory/idle" >&2; die 'the idle connections were not held'; }
    [ "$held" -ge $idle ] || die "only $held of $idle connections were held"
    awk -v grown=$((after - before)) -v held="$held" 'BEGIN {
        printf "idle connections\ttollgate\t%.3f\t0\t0\t0\n", grown / held }' >>"$directory/samples"
fi

# ---- rounds
round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    say "round $round of $rounds"
    if wanted '4 KiB file'; then
        for server in tollgate nginx lighttpd lua lua_cached; do measure '4 KiB' $server /4k.mp3 64; done
    fi
    if wanted '64 KiB range'; then
        for server in tollgate nginx lighttpd; do measure '64 KiB range' $server /5m.mp3 64 0-65535; done
    fi
    if wanted '5 MiB file'; then
        for server in tollgate nginx; do measure '5 MiB' $server /5m.mp3 64; done
    fi
    if wanted 'TLS'; then
        for server in tollgate_tls nginx_tls; do
            measure '64 KiB TLS' $server /5m.mp3 64 0-65535
            measure '5 MiB TLS' $server /5m.mp3 64
        done
    fi
    if wanted 'range latency'; then
        for first in 0 100000; do measure "range from $first" tollgate /5m.mp3 1 $first-$((first + 65535)); done
    fi
    if wanted 'unique links'; then
        measure_unique tollgate 8100
        measure_unique lua_jws 8105
    fi
done

# ---- the table
awk -F '\t' -v json="$json" '
    function median(work, server, column,    n, i, j, t, v) {
        n = count[work, server]
        for (i = 1; i <= n; i++) v[i] = sample[work, server, i, column] + 0
        for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j] < v[j - 1]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
        low = v[1]; high = v[n]
        return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
    }
    function digits(value) { return sprintf(value >= 1000 ? "%.0f" : "%.4g", value) }
    function spread(value) { return digits(value) " (" digits(low) "-" digits(high) ")" }
    # row WORK METRIC COLUMN PEERS BAR SENSE: the better peer counts; sense -1: less is better.
    function row(work, label, metric, column, peers, bar, sense, us,    names, n, i, ours, value, best, ratio, ok, text, list) {
        if (us == "") us = "tollgate"
        if (!count[work, us]) return
        ours = median(work, us, column); text = spread(ours)
        n = split(peers, names, " ")
        for (i = 1; i <= n; i++) {
            value = median(work, names[i], column)
            list = list (i > 1 ? ", " : "") (json == "yes" ? sprintf("\"%s\": %.6g", names[i], value) : names[i] " " spread(value))
            if (i == 1 || (sense < 0 ? value < best : value > best)) best = value
        }
        verdict(label, metric, ours, text, list, ours / best, bar, sense)
    }
    function verdict(label, metric, ours, text, list, ratio, bar, sense,    ok) {
        ok = ours > 0 && (sense < 0 ? ratio <= bar : ratio >= bar)
        if (!ok) missed++
        if (json == "yes")
            printf "{\"work\": \"%s\", \"metric\": \"%s\", \"tollgate\": %.6g, \"peers\": {%s}, \"ratio\": %.4g, \"bar\": %g, \"ok\": %s}\n", label, metric, ours, list, ratio, bar, ok ? "true" : "false"
        else
            printf "%-34s %-15s %-22s %-56s %6.2f %s %-5g %s\n", label, metric, text, list, ratio, sense < 0 ? "<=" : ">=", bar, ok ? "ok" : "MISSED"
    }
    { n = ++count[$1, $2]; for (i = 3; i <= NF; i++) sample[$1, $2, n, i] = $i }
    END {
        if (json != "yes")
            printf "%-34s %-15s %-22s %-56s %6s    %s\n", "work", "metric", "tollgate", "peers", "ratio", "bar"
        row("4 KiB", "4 KiB file, one link reused", "CPU us/request", 3, "nginx lighttpd", 1.0, -1)
        row("64 KiB range", "64 KiB range", "CPU us/request", 3, "nginx lighttpd", 1.0, -1)
        row("5 MiB", "5 MiB file", "CPU s/GB", 4, "nginx", 1.05, -1)
        row("64 KiB TLS", "64 KiB range over TLS", "CPU s/GB", 4, "nginx_tls", 0.9, -1, "tollgate_tls")
        row("5 MiB TLS", "5 MiB file over TLS", "CPU s/GB", 4, "nginx_tls", 0.9, -1, "tollgate_tls")
        row("4 KiB", "4 KiB, Redis asked each time", "requests/s", 5, "lua", 8, 1)
        row("4 KiB", "4 KiB, verdict cached", "requests/s", 5, "lua_cached", 2.5, 1)
        row("unique links", "4 KiB, unique links", "requests/s", 5, "lua_jws", 4, 1)
        row("unique links", "4 KiB, unique links", "CPU us/request", 3, "lua_jws", 0.25, -1)
        if (count["unique links", "tollgate"] && json != "yes")
            for (i = split("tollgate lua_jws", both, " "); i > 0; i--)
                printf "%s: core 0 (server) %.0f %% busy, core 1 (client, Redis) %.0f %%\n", both[i],
                    median("unique links", both[i], 7), median("unique links", both[i], 8) >"/dev/stderr"
        if (count["range from 0", "tollgate"]) {
            aligned = median("range from 0", "tollgate", 6); list = json == "yes" ? sprintf("\"aligned\": %.6g", aligned) : "aligned " spread(aligned)
            ours = median("range from 100000", "tollgate", 6)
            verdict("range 100000-165535, 1 connection", "median us", ours, spread(ours), list, ours / aligned, 1.5, -1)
        }
        if (count["idle connections", "tollgate"]) {
            ours = median("idle connections", "tollgate", 3)
            verdict("10,000 idle connections", "KiB/connection", ours, sprintf("%.4g", ours), "", ours, 2, -1)
        }
        exit missed > 0
    }' "$directory/samples"
