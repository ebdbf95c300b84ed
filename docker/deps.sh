#!/bin/sh
# The one list of Debian 12 packages that Tollgate needs. docker/ready.sh (for docker/demo.sh and tests/run.sh) and
# the Dockerfile call it.
#
#   docker/deps.sh [GROUP]...                 install what is missing of these groups (default: run build)
#   docker/deps.sh --list GROUP...            print the packages and install nothing
#   docker/deps.sh --missing GROUP...         print those that are missing and install nothing
#
# The groups are run, build, demo, bench, micro, test, checks, clients, examples, ktls and image.
# It asks dpkg first and touches the network only when something is missing.
set -eu

packages_of() {
    case $1 in
    run) echo liburing2 libssl3 libxxhash0 libhiredis0.14 libjansson4 libyaml-0-2 libsystemd0 libunistring2 libzstd1 redis-server ;;
    build) echo gcc libc6-dev cmake ninja-build pkg-config liburing-dev libssl-dev libxxhash-dev libhiredis-dev libjansson-dev libyaml-dev libsystemd-dev libunistring-dev libzstd-dev ;;
    # The shop signs with python3-jwt, and reads durations with python3-mutagen.
    demo) echo lame curl python3 python3-jwt python3-mutagen ;;
    bench) echo nginx-light libnginx-mod-http-lua lua-nginx-redis lua-cjson lighttpd wrk iproute2 procps openssl ;;
    test) echo lame python3 libcriterion-dev libcurl4-openssl-dev liblua5.1-0-dev iproute2 openssl ;;
    # cpack calls file, and clang's sanitizers want libclang-rt-14-dev.
    checks) echo ffmpeg clang clang-format clang-tidy cppcheck shellcheck libclang-rt-14-dev git man-db dpkg-dev file systemd ;;
    # clang-tidy reads bench/micro, too, which includes valgrind's header.
    micro) echo valgrind openssl ;;
    clients) echo lame curl wget aria2 slowhttptest sslscan chromium nodejs npm jq openssl ;;
    examples) echo php-cli ruby ruby-jwt golang-go golang-github-golang-jwt-jwt-dev python3-jwt nodejs npm curl lame ;;
    ktls) echo qemu-system-x86 busybox-static linux-image-cloud-amd64 kmod cpio openssl curl lame ;;
    image) echo docker-compose systemd-container buildah debootstrap jq curl lame python3-yaml util-linux procps ;;
    *) return 1 ;;
    esac
}

usage() {
    sed -n '2,10s/^# \{0,1\}//p' "$0"
}

mode=install
groups=
wanted=
for argument in "$@"; do
    case $argument in
    --list) mode=list ;;
    --missing) mode=missing ;;
    -h | --help) usage; exit 0 ;;
    *)
        packages_of "$argument" >/dev/null || {
            echo "deps.sh: the group '$argument' is unknown; sh docker/deps.sh --help lists the groups" >&2
            exit 64
        }
        groups="$groups $argument"
        ;;
    esac
done
for group in ${groups:-run build}; do wanted="$wanted $(packages_of "$group")"; done
# A package of two groups is named once.
# shellcheck disable=SC2086 # a list of names, split on purpose
wanted=$(printf '%s\n' $wanted | awk '!seen[$0]++')

if [ "$mode" = list ]; then
    echo "$wanted"
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
if [ "$mode" = missing ]; then
    for package in $missing; do echo "$package"; done
    exit 0
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "deps.sh: Debian packages are missing, and only root can install them; run as root: apt-get install$missing" >&2
        exit 77
    }
    echo "deps.sh: sudo is called, because only root can install Debian packages" >&2
    # shellcheck disable=SC2086 # a list of names, split on purpose
    exec sudo sh "$0" ${groups:-run build}
fi

# holder FILE: prints the id of the process that holds apt's lock FILE, if any. Perl is in every Debian.
holder() {
    [ -e "$1" ] || return 0
    perl -MFcntl -e 'open(my $file, "<", $ARGV[0]) or exit; my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
        fcntl($file, F_GETLK, $lock) or exit; my ($type, undef, undef, undef, $process) = unpack("s s x4 q q i x4", $lock);
        print $process unless $type == F_UNLCK;' "$1"
}

# apt-get waits for dpkg's lock only if it is told to, and never for the lock of the package lists; its output shows
# neither. So this script waits for them, and says so.
lock_wait_s=${TOLLGATE_LOCK_WAIT_S:-300}
waited_s=0
for lock in lib/dpkg/lock-frontend lib/dpkg/lock lib/apt/lists/lock cache/apt/archives/lock; do
    lock=${TOLLGATE_LOOK_ROOT:-}/var/$lock
    told=
    while process=$(holder "$lock"); [ -n "$process" ]; do
        name="process $process ($(cat "/proc/$process/comm" 2>/dev/null || echo 'its name is unknown'))"
        if [ "$waited_s" -ge "$lock_wait_s" ]; then
            echo "deps.sh: $name still holds apt's lock $lock after $lock_wait_s s; let it end, or see what it does with: ps -fp $process" >&2
            exit 75
        fi
        [ -n "$told" ] || echo "deps.sh: $name holds apt's lock $lock; deps.sh waits for it, $lock_wait_s s at most"
        told=yes
        sleep 1
        waited_s=$((waited_s + 1))
    done
done

echo "installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# Debian starts redis-server as a service when it is installed; Tollgate runs a private child
# instead. A policy-rc.d of 101 keeps the service from starting, where the machine has none of its own.
policy=${TOLLGATE_LOOK_ROOT:-}/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$log" "$policy"' EXIT
fi
# shellcheck disable=SC2086 # a list of names, split on purpose
if ! { apt-get update && apt-get install -o DPkg::Lock::Timeout=300 -y --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "deps.sh: apt-get could not install:$missing; mend what apt-get says above, and run the command again" >&2
    exit 69
fi
