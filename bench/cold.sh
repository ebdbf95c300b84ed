#!/bin/sh
# Measures how readers of files that are not in memory slow down readers of one that is: 16 connections ask for one hot
# 64 KiB range all the time, first alone (quiet), then while 16 others read 64 evicted files from the disk (cold).
# Beside Tollgate stands Debian's nginx with `aio threads`, which serves the same files to anyone.
#
#   bench/cold.sh                      five rounds (some two and a half minutes)
#   bench/cold.sh --quick              two rounds (some one minute)
#   bench/cold.sh --tls                the same over TLS 1.3, AES-128-GCM, records made in user space
#   bench/cold.sh --paced              the same load for each server, below what the machine can do: the hot range some
#                                      4,800 times a second, the cold files at 16 times 20 MB/s
#   bench/cold.sh --before=TOLLGATE    also measures another build in the same rounds, such as one before a change
#   bench/cold.sh --json               prints rows {work, metric, tollgate, peers, ratio, bar, ok} as JSON lines
#
# One server worker on core 0, the clients on core 1, a network namespace of its own under reno. The files lie beneath
# $TMPDIR (/var/tmp), which must be on a disk with 2 GiB free. Before each cold run they are evicted by
# POSIX_FADV_DONTNEED, which is checked; the hot load runs exactly until each of them has been read once. Rounds are
# interleaved; the table shows medians and, in brackets, the smallest and largest round. The bars are:
#   cold p99 / quiet p99       at most 5 (the aim is 2)
#   cold p99 / nginx's         at most 0.5
#   cold MB/s / nginx's        at least 1 (not under --paced, where the pace sets it)
# Exit 1 where a bar is missed. On a machine with other load, only the ratios count. A host may take the server's core
# away (the last column; from a virtual machine that reads much, some 10 ms in each 100). p99 then shows that pause,
# which is longer for the server that reads more, so that it describes the server only under --paced.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
script=cold
. "$here/servers.sh"

rounds=5 json=no tls=no paced=no before=
for argument in "$@"; do
    case $argument in
    --quick) rounds=2 ;;
    --json) json=yes ;;
    --tls) tls=yes ;;
    --paced) paced=yes ;;
    --before=*) before=${argument#--before=} ;;
    -h | --help) sed -n '2,24s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "cold.sh: unknown option '$argument'; see --help" >&2; exit 64 ;;
    esac
done
[ -z "$before" ] || [ -x "$before" ] || die "--before=$before: there is no such program"

enter 'run build bench' "$@"

make_directory "${TMPDIR:-/var/tmp}"
filesystem=$(stat -f -c %T "$directory")
case $filesystem in
tmpfs | ramfs) die "$directory is in memory ($filesystem); set TMPDIR to a directory on a disk" ;;
esac
say "congestion control: $(cat /proc/sys/net/ipv4/tcp_congestion_control); $(uname -r); $filesystem; rounds: $rounds"

# ---- files
media=$directory/media
mkdir "$media"
files=64
say "writing $files files of 32 MiB"
head -c 1048576 /dev/urandom >"$media/hot.mp3"
names=
number=0
while [ $number -lt $files ]; do
    number=$((number + 1))
    head -c 33554432 /dev/zero | openssl enc -aes-128-ctr -pass "pass:$number" -nosalt -md sha256 \
        >"$media/$number.mp3" 2>/dev/null
    names="$names /$number.mp3"
done
sync "$media"/*.mp3
chmod -R a+rX "$directory"
evict() {
    for name in $names; do dd if="$media$name" iflag=nocache count=0 2>/dev/null; done
    (cd "$media" && fincore -b -n -o RES $(echo "$names" | tr -d /)) |
        awk '{ bytes += $1 } END { exit bytes > 33554432 }' || die 'the files could not be evicted from memory'
    cat "$media/hot.mp3" >/dev/null
}

# ---- servers
make_keys
serve() { # NAME PROGRAM PORT PORT_TLS
    cat >"$directory/$1.yaml" <<YAML
listen: 127.0.0.1:$3
listen_tls: 127.0.0.1:$4
certificates: tls.pem
public_origin: http://127.0.0.1:8100
media_root: media
state_dir: state-$1
workers: 1
unacknowledged_max: 1000000 # each end of the hot load cuts 16 responses of one link
issuers:
  - id: shop
    iss: shop
    keys: keys/shop-private.jwks
    prefixes: [/]
YAML
    export TOLLGATE_CONFIG="$directory/$1.yaml"
    start "$1" 0 "$2" serve
    await "$1" "$2" health
    eval "embedded=\$(pgrep -P \"\$pid_$1\" redis-server)" || die 'the embedded Redis is not there'
    taskset -a -p -c 1 "$embedded" >/dev/null
    "$2" account open shop/bench --plan postpaid >/dev/null
}
servers='tollgate nginx'
serve tollgate "$root/build/tollgate" 8100 8110
[ -z "$before" ] || { serve before "$before" 8120 8130; servers='tollgate before nginx'; }
sed -e "s|DIRECTORY|$directory|g" -e "s|MEDIA|$media|g" "$here/peers/nginx-cold.conf" >"$directory/nginx.conf"
start nginx 0 nginx -c "$directory/nginx.conf" -g 'daemon off;'

export CURL_CA_BUNDLE="$directory/tls.pem"
if [ $tls = yes ]; then scheme=https; else scheme=http; fi
urls() { # SERVER PATH...
    case $1$tls in
    tollgateno) port=8100 ;; tollgateyes) port=8110 ;;
    beforeno) port=8120 ;; beforeyes) port=8130 ;;
    nginxno) port=8101 ;; nginxyes) port=8111 ;;
    esac
    server=$1
    shift
    for path in "$@"; do
        if [ $server = nginx ]; then
            echo "$scheme://127.0.0.1:$port$path"
        else
            "$root/build/tollgate" link sign --key "$jwks" --issuer shop --account bench --expires-in 1h \
                --origin "$scheme://127.0.0.1:$port" --path "$path"
        fi
    done
}
for server in $servers; do
    urls $server /hot.mp3 >"$directory/$server.hot"
    urls $server $names >"$directory/$server.cold"
    await $server curl -fsS -o /dev/null "$(cat "$directory/$server.hot")"
    for list in hot cold; do
        link=$(tail -n 1 "$directory/$server.$list")
        path=${link#*127.0.0.1:????} path=${path%%\?*}
        curl -fsS "$link" | cmp - "$media$path" || die "$server does not deliver $path"
    done
done

# ---- measuring
# tollgate-bench has neither TLS nor a pace. For those, wrk asks for the hot range and curl reads the cold files, of
# every server.
by_others=no limit= script_of_wrk=
[ $tls = no ] || by_others=yes
if [ $paced = yes ]; then
    by_others=yes limit='--limit-rate 20M' script_of_wrk="-s $directory/pace.lua"
    echo 'function delay() return math.random(2, 4) end -- milliseconds' >"$directory/pace.lua"
fi
# load NAME TIME OPTION...
load() {
    name=$1 time=$2
    shift 2
    taskset -c 1 "$root/build/tollgate-bench" --quiet --json --connections 16 --duration "$time" "$@" >"$directory/$name.json"
}
hot() { # NAME SECONDS URL: for so long, or until SIGINT
    [ $by_others = yes ] || { load "$1" "$2s" --range 0-65535 "$3"; return; }
    taskset -c 1 wrk $script_of_wrk -t1 -c16 -d"$2s" --latency -H 'Range: bytes=0-65535' "$3" >"$directory/$1.out" 2>&1
    if grep -qE 'Socket errors|Non-2xx' "$directory/$1.out"; then return 1; fi
    awk 'function us(text) { return text ~ /us$/ ? text + 0 : text ~ /ms$/ ? text * 1000 : text * 1000000 }
        $1 == "50%" { printf "\"p50\": %.1f\n", us($2) }
        $1 == "99%" { printf "\"p99\": %.1f\n", us($2) }
        /^Requests\/sec/ { printf "\"requests_per_s\": %.1f\n", $2 }' "$directory/$1.out" >"$directory/$1.json"
}
cold() { # SERVER: each file once
    [ $by_others = yes ] || { load cold 60s --requests $files $(cat "$directory/$1.cold"); return; }
    sed 's/.*/url = "&"\noutput = "\/dev\/null"/' "$directory/$1.cold" >"$directory/curl"
    began=$(date +%s.%N)
    timeout 60 taskset -c 1 curl -fsS $limit --no-progress-meter --http1.1 --parallel --parallel-immediate --parallel-max 16 -K "$directory/curl" ||
        return 1
    awk -v seconds="$began $(date +%s.%N)" -v files=$files 'BEGIN {
        split(seconds, at, " ")
        printf "\"requests\": %d\n\"bytes_per_s\": %.0f\n", files, files * 33554432 / (at[2] - at[1]) }' >"$directory/cold.json"
}
# field NAME KEY: prints a number of the report
field() { sed -n "s/^ *\"$2\": *\([0-9.e+]*\).*/\1/p" "$directory/$1.json" | head -n 1; }
failed() { # SERVER WHAT NAME
    cat "$directory/$3.json" "$directory/$1.out" >&2
    die "$1 answered $2 with errors"
}
stolen_ticks() { awk '$1 == "cpu0" { print $9 }' /proc/stat; }
hertz=$(getconf CLK_TCK)
measure() { # SERVER: adds "SERVER quiet_p50 quiet_p99 cold_p50 cold_p99 quiet/s cold/s MB/s stolen_%" to the samples
    server=$1 link=$(cat "$directory/$1.hot")
    hot warmup 1 "$link" || failed $server 'the hot range' warmup
    hot quiet 3 "$link" || failed $server 'the hot range' quiet
    evict
    stolen=$(stolen_ticks) began_beside=$(date +%s.%N)
    hot beside 90 "$link" &
    loader=$!
    cold $server || failed $server 'the readers of evicted files' cold
    kill -INT $(pgrep -P $loader 'tollgate-bench|wrk')
    wait $loader || failed $server 'the hot range beside the readers of evicted files' beside
    [ "$(field cold requests)" = $files ] || die "$server was not done with the evicted files after 60 s"
    stolen=$(echo "$stolen $(stolen_ticks) $hertz $began_beside $(date +%s.%N)" |
        awk '{ printf "%.1f", 100 * ($2 - $1) / $3 / ($5 - $4) }')
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' $server "$(field quiet p50)" "$(field quiet p99)" "$(field beside p50)" \
        "$(field beside p99)" "$(field quiet requests_per_s)" "$(field beside requests_per_s)" \
        "$(field cold bytes_per_s)" "$stolen" >>"$directory/samples"
}
: >"$directory/samples"
round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    say "round $round of $rounds"
    for server in $servers; do measure $server; done
done

# ---- the table
awk -F '\t' -v json="$json" -v paced="$paced" -v work="hot range beside cold files$([ $tls = no ] || echo ', TLS')$([ $paced = no ] || echo ', paced')" '
    function median(server, column,    n, i, j, t, v) {
        n = count[server]
        for (i = 1; i <= n; i++) v[i] = sample[server, i, column] + 0
        for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j] < v[j - 1]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
        low = v[1]; high = v[n]
        return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
    }
    function spread(server, column, unit, digits,    value) {
        value = median(server, column)
        return sprintf("%.*f (%.*f-%.*f)", digits, value / unit, digits, low / unit, digits, high / unit)
    }
    function row(server) {
        if (!count[server]) return
        printf "%-10s %-20s %-20s %-20s %-22s %-22s %-22s %-20s %s\n", server, spread(server, 2, 1000, 2), spread(server, 3, 1000, 2),
            spread(server, 4, 1000, 2), spread(server, 5, 1000, 2), spread(server, 6, 1, 0), spread(server, 7, 1, 0),
            spread(server, 8, 1e6, 0), spread(server, 9, 1, 0)
    }
    function verdict(metric, ours, peer, value, bar, sense,    ratio, ok) {
        ratio = value > 0 ? ours / value : 0
        ok = ours > 0 && value > 0 && (sense < 0 ? ratio <= bar : ratio >= bar)
        if (!ok) missed++
        if (json == "yes")
            printf "{\"work\": \"%s\", \"metric\": \"%s\", \"tollgate\": %.6g, \"peers\": {\"%s\": %.6g}, \"ratio\": %.4g, \"bar\": %g, \"ok\": %s}\n", work, metric, ours, peer, value, ratio, bar, ok ? "true" : "false"
        else
            printf "%-18s %8.2f, %s %8.2f: %6.2f %s %g %s\n", metric, ours, peer, value, ratio, sense < 0 ? "<=" : ">=", bar, ok ? "ok" : "MISSED"
    }
    { n = ++count[$1]; for (i = 2; i <= NF; i++) sample[$1, n, i] = $i }
    END {
        if (json != "yes") {
            print work
            printf "%-10s %-20s %-20s %-20s %-22s %-22s %-22s %-20s %s\n", "", "quiet p50 ms", "quiet p99 ms", "cold p50 ms", "cold p99 ms", "quiet hot requests/s", "cold hot requests/s", "cold MB/s", "core 0 stolen %"
            row("tollgate"); row("before"); row("nginx")
        }
        verdict("cold p99 ms", median("tollgate", 5) / 1000, "own quiet p99", median("tollgate", 3) / 1000, 5, -1)
        verdict("cold p99 ms", median("tollgate", 5) / 1000, "nginx", median("nginx", 5) / 1000, 0.5, -1)
        if (paced == "no") verdict("cold MB/s", median("tollgate", 8) / 1e6, "nginx", median("nginx", 8) / 1e6, 1, 1)
        exit missed > 0
    }' "$directory/samples"
