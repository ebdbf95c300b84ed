#!/bin/sh
# Sends the same hostile request heads (heads.js) to Tollgate, nginx, lighttpd and Node's llhttp, and prints a table of
# those that some accept and others refuse, with the reasons (explained.json). Fails where a reason is missing.
#
#   tests/differential/run.sh     some 20 seconds
#
# Needs the packages of `docker/deps.sh bench clients` and build/tests/tollgate.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
tollgate=$root/build/tests/tollgate
work=$(mktemp -d /tmp/tollgate-differential-XXXXXX)
pids=
finish() {
    for pid in $pids; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
free_port() { node -e 's=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }

mkdir "$work/media" "$work/keys"
echo x >"$work/media/x"
chmod -R a+rX "$work"
"$tollgate" key generate --issuer shop --alg HS256 --directory "$work/keys" >/dev/null
nginx_port=$(free_port) lighttpd_port=$(free_port)
cat >"$work/tollgate.yaml" <<YAML
listen: 127.0.0.1:0
public_origin: http://a
media_root: media
state_dir: state
workers: 1
head_timeout_ms: 1000
issuers:
  - {id: shop, iss: shop, keys: keys/shop-private.jwks, prefixes: [/]}
YAML
cat >"$work/nginx.conf" <<CONF
worker_processes 1;
pid $work/nginx.pid;
error_log $work/nginx.log;
events {}
http {
    access_log off;
    client_header_timeout 1s;
    server { listen 127.0.0.1:$nginx_port; root $work/media; }
}
CONF
cat >"$work/lighttpd.conf" <<CONF
server.document-root = "$work/media"
server.bind = "127.0.0.1"
server.port = $lighttpd_port
server.errorlog = "$work/lighttpd.log"
CONF
TOLLGATE_CONFIG=$work/tollgate.yaml
export TOLLGATE_CONFIG
"$tollgate" serve 2>"$work/tollgate.log" &
pids="$pids $!"
nginx -c "$work/nginx.conf" -g 'daemon off;' 2>/dev/null &
pids="$pids $!"
lighttpd -D -f "$work/lighttpd.conf" &
pids="$pids $!"
tries=0
until "$tollgate" health >/dev/null 2>&1 && curl -s -o /dev/null "http://127.0.0.1:$nginx_port/x" &&
    curl -s -o /dev/null "http://127.0.0.1:$lighttpd_port/x"; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$work"/*.log >&2; exit 70; }
    sleep 0.2
done
port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' "$work/tollgate.log")
PORTS="{\"tollgate\": $port, \"nginx\": $nginx_port, \"lighttpd\": $lighttpd_port}" node "$here/run.js"
