#!/bin/sh
# The one list of Debian 12 packages that Tollgate needs. docker/demo.sh, tests/run.sh and the
# Dockerfile all call it.
#
#   docker/deps.sh [run|build|demo|bench|test|clients|examples|ktls|image]...   install what is missing of these groups (default: run build)
#   docker/deps.sh --list GROUP...            print the packages and install nothing
#
# It asks dpkg first and touches the network only when something is missing.
set -eu

packages_run='liburing2 libssl3 libxxhash0 libhiredis0.14 libjansson4 libyaml-0-2 libsystemd0 libunistring2 redis-server'
packages_build='gcc libc6-dev cmake ninja-build pkg-config liburing-dev libssl-dev libxxhash-dev libhiredis-dev libjansson-dev libyaml-dev libsystemd-dev libunistring-dev'
packages_demo='lame curl python3'
packages_bench='nginx-light libnginx-mod-http-lua lua-nginx-redis lua-cjson lighttpd wrk iproute2 procps openssl'
packages_test='lame ffmpeg libcriterion-dev libcurl4-openssl-dev clang clang-format clang-tidy cppcheck libclang-rt-14-dev iproute2 git man-db dpkg-dev systemd openssl'
packages_clients='lame curl wget aria2 slowhttptest sslscan chromium nodejs npm jq openssl'
packages_examples='php-cli ruby ruby-jwt golang-go golang-github-golang-jwt-jwt-dev python3-jwt nodejs npm curl lame'
packages_ktls='qemu-system-x86 busybox-static linux-image-cloud-amd64 kmod cpio openssl curl lame'
packages_image='systemd-container buildah debootstrap jq curl lame python3-yaml util-linux procps'

usage() {
    sed -n '2,8s/^# \{0,1\}//p' "$0"
}

list_only=no
groups=
for argument in "$@"; do
    case $argument in
    --list) list_only=yes ;;
    -h | --help) usage; exit 0 ;;
    run | build | demo | bench | test | clients | examples | ktls | image) groups="$groups $argument" ;;
    *)
        echo "deps.sh: unknown group '$argument'; the groups are run, build, demo, bench, test, clients, examples, ktls and image" >&2
        exit 64
        ;;
    esac
done
[ -n "$groups" ] || groups='run build'

wanted=
for group in $groups; do
    eval "wanted=\"\$wanted \$packages_$group\""
done

if [ "$list_only" = yes ]; then
    for package in $wanted; do echo "$package"; done
    exit 0
fi

missing=
for package in $wanted; do
    case $package in
    nodejs | npm) # a newer Node from elsewhere brings both, and Debian's would push it out
        if command -v node >/dev/null && command -v npm >/dev/null; then continue; fi
        ;;
    esac
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "deps.sh: these packages are missing and only root can install them; run: sudo apt-get install$missing" >&2
    exit 77
fi

echo "installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# Debian starts redis-server as a service when it is installed; Tollgate runs a private child
# instead. A policy-rc.d of 101 keeps the service from starting, where the machine has none of its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$log" "$policy"' EXIT
fi
# shellcheck disable=SC2086 # a list of names, split on purpose
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "deps.sh: apt-get could not install:$missing" >&2
    exit 69
fi
