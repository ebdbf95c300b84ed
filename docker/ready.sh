#!/bin/sh
# Makes this machine ready for a command: looks whether the command can run here, says what will be installed and how
# long it takes, and installs it. docker/demo.sh and tests/run.sh begin with it.
#
#   docker/ready.sh demo|quick|tests [--look]       --look installs nothing
#
# Each obstacle is one line with its cure; if there is one, nothing is installed and the exit code is 69.
# tests/ready.sh tests this script: TOLLGATE_LOOK_ROOT is a directory whose etc/os-release and proc/ are read in place
# of this machine's.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(dirname "$here")
top=${TOLLGATE_LOOK_ROOT:-}

# What each command needs: groups of packages, MB to fetch and MiB to install if none of them is there yet, MiB in the
# checkout, MiB in /tmp, and the words for the time that it takes.
case ${1:-} in
demo)
    command='sh docker/demo.sh'
    groups='run build demo'
    fetched_mb=91 installed_mib=450 checkout_mib=80 tmp_mib=1
    takes='about one minute the first time, some seconds later'
    ;;
quick)
    command='sh tests/run.sh --quick'
    groups='run build test'
    fetched_mb=100 installed_mib=480 checkout_mib=150 tmp_mib=200
    takes='about three minutes on two idle cores'
    ;;
tests)
    command='sh tests/run.sh'
    groups='run build demo bench micro test checks clients examples image'
    [ "$(uname -m)" != x86_64 ] || groups="$groups ktls" # its kernel exists for amd64 alone
    fetched_mb=655 installed_mib=3590 checkout_mib=1500 tmp_mib=2000
    takes='at most 25 minutes on two idle cores, after some minutes to install what is missing'
    ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    case ${1:-} in -h | --help) exit 0 ;; *) exit 64 ;; esac
    ;;
esac
install=yes
[ "${2:-}" != --look ] || install=no
name=${command#sh }
name=${name%% *}
name=${name##*/}
refused=no
refuse() {
    echo "$name: $*" >&2
    refused=yes
}
user=$(id -u)

# ---- Debian 12
system=$(sed -n 's/^ID=//p' "$top/etc/os-release" 2>/dev/null | tr -d '"')
version=$(sed -n 's/^VERSION_ID=//p' "$top/etc/os-release" 2>/dev/null | tr -d '"')
if [ "$system $version" != 'debian 12' ]; then
    pretty=$(sed -n 's/^PRETTY_NAME=//p' "$top/etc/os-release" 2>/dev/null | tr -d '"')
    case $command in
    *demo*) may="--network host --security-opt seccomp='$here/seccomp.json'" ;;
    *) may=--privileged ;; # the tests mount file systems
    esac
    refuse "this machine runs ${pretty:-a system without /etc/os-release}, and Tollgate's packages are those of Debian 12; run the command in a container of it: docker run --rm -it $may -v '$checkout:$checkout' -w '$checkout' debian:12 $command"
fi

# ---- root
missing=
if [ "$system $version" = 'debian 12' ]; then
    # shellcheck disable=SC2086 # a list of groups, split on purpose
    missing=$(sh "$here/deps.sh" --missing $groups)
fi
if [ "$user" -ne 0 ]; then
    if command -v sudo >/dev/null; then as_root="sudo $command"; else as_root="su -c '$command'"; fi
    if [ "$command" = 'sh tests/run.sh' ]; then
        refuse "the tests build a package and an image, which only root can; run: $as_root"
    elif [ -n "$missing" ] && ! command -v sudo >/dev/null; then
        refuse "Debian packages are missing, only root can install them, and sudo is not installed here; run: $as_root"
    fi
fi

# ---- the kernel, and io_uring
read -r kernel 2>/dev/null <"$top/proc/sys/kernel/osrelease" || kernel=$(uname -r)
major=${kernel%%.*}
minor=${kernel#*.}
minor=${minor%%[!0-9]*}
disabled=$(cat "$top/proc/sys/kernel/io_uring_disabled" 2>/dev/null || echo 0)
if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "${minor:-0}" -lt 1 ]; }; then
    refuse "this is Linux $kernel, and Tollgate needs the io_uring of Linux 6.1 or later; boot a newer kernel (linux-image-amd64 of Debian 12 is 6.1)"
elif [ "$disabled" -eq 2 ] || { [ "$disabled" -eq 1 ] && [ "$user" -ne 0 ]; }; then
    refuse "the sysctl kernel.io_uring_disabled is $disabled, so the kernel refuses io_uring; run as root: sysctl -w kernel.io_uring_disabled=0"
else
    # io_uring_setup is call 425 everywhere. Without memory it answers EFAULT (14), or the error of what forbids it.
    # Perl is in every Debian, a compiler is not.
    answer=$(perl -e 'syscall(425, 1, 0); print $! + 0' 2>/dev/null || echo 14)
    filter=$(sed -n 's/^Seccomp:[^0-9]*//p' "$top/proc/self/status" 2>/dev/null || echo 0)
    case $answer in
    14 | 22) ;;
    *)
        if [ "${filter:-0}" != 0 ]; then
            refuse "a seccomp profile refuses io_uring here, as a container's default profile does; start the container with: --security-opt seccomp='$here/seccomp.json'"
        elif [ "$answer" = 38 ]; then
            refuse "the kernel $kernel was built without io_uring; boot one with CONFIG_IO_URING (Debian's kernels have it)"
        else
            refuse "a security module (SELinux or AppArmor) refuses io_uring here; allow it for this user"
        fi
        ;;
    esac
fi

# ---- room: the needs are added up for each file system. What was built already needs no further room.
if [ -n "$missing" ]; then packages_mib=$((installed_mib + fetched_mb)); else packages_mib=0; fi
built_mib=$(du -sm "$checkout/build" 2>/dev/null | cut -f 1 || true)
checkout_mib=$((checkout_mib - ${built_mib:-0}))
[ "$checkout_mib" -gt 10 ] || checkout_mib=10
room() { # DIRECTORY MIB: file system, MiB that are free, MiB that are needed, directory
    df -Pm "$1" | awk -v needed="$2" -v directory="$1" 'NR == 2 { print $1 "\t" $4 "\t" needed "\t" directory }'
}
tight=$({ room /usr "$packages_mib"; room "$checkout" "$checkout_mib"; room /tmp "$tmp_mib"; } | awk -F '\t' '
    { free[$1] = $2; needed[$1] += $3; where[$1] = where[$1] (where[$1] == "" ? "" : ", ") $4 }
    END { for (one in free) if (free[one] + 0 < needed[one])
        print "the file system " one " (" where[one] ") has " free[one] " MiB free, and this command needs " needed[one] " MiB there; delete files there" }')
if [ -n "$tight" ]; then
    echo "$tight" | sed "s/^/$name: /" >&2
    refused=yes
fi

[ "$refused" = no ] || exit 69

# ---- what follows
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # a list of names, split on purpose
    set -- $missing
    echo "$name installs $# Debian packages and what they depend on (at most $fetched_mb MB to download, $installed_mib MiB on disk):"
    echo "$missing" | tr '\n' ' ' | fold -s -w 110 | sed 's/^/    /'
    echo
else
    echo "$name installs nothing: every Debian package that it needs is there."
fi
echo "$name takes $takes."
[ "$install" = yes ] || exit 0
# shellcheck disable=SC2086 # a list of groups, split on purpose
exec sh "$here/deps.sh" $groups
