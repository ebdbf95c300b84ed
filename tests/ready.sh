#!/bin/sh
# Checks what docker/ready.sh and docker/deps.sh say if something stands in the way of docker/demo.sh and tests/run.sh:
# other systems, kernels, users, full disks and held locks, which are pretended by files and programs in a directory of
# the test's own, and a seccomp filter, which is a real one.
#
#   tests/ready.sh
#
# Prints a line for each message that is missing, and exits 1 then. Some 5 seconds.
set -u
cd "$(dirname "$0")/.." || exit 70
work=$(mktemp -d)
holder=
trap '[ -z "$holder" ] || kill "$holder" 2>/dev/null; rm -rf "$work"' EXIT
failed=no
wrong() {
    echo "ready: FAILED: $*"
    failed=yes
}

# Links to the programs that the scripts call, and to no other, so that a case can lack a program.
mkdir "$work/bin" "$work/fake"
for program in awk cat chmod cut dirname du env fold grep mkdir mktemp perl ps rm sed sh sleep tr uname df id dpkg-query; do
    ln -s "$(command -v "$program")" "$work/bin/$program"
done
# fake PROGRAM LINE...: writes a program that a case finds in place of the real one; `fresh` removes all of them.
fake() {
    program=$1
    shift
    { echo '#!/bin/sh'; printf '%s\n' "$@"; } >"$work/fake/$program"
    chmod 755 "$work/fake/$program"
}
top=$work/top
fresh() {
    rm -rf "$work/fake" "$top"
    mkdir -p "$work/fake" "$top/etc" "$top/proc/sys/kernel" "$top/proc/self" "$top/usr/sbin" \
        "$top/var/lib/apt/lists" "$top/var/lib/dpkg" "$top/var/cache/apt/archives"
    printf 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n' >"$top/etc/os-release"
    echo 6.1.0-30-amd64 >"$top/proc/sys/kernel/osrelease"
    echo 0 >"$top/proc/sys/kernel/io_uring_disabled"
    printf 'Seccomp:\t0\nSeccomp_filters:\t0\n' >"$top/proc/self/status"
    fake id 'echo 0'
    fake perl 'echo 14'
    fake dpkg-query 'echo installed'
    fake df 'echo head' 'echo "/dev/one 99999 1 99999 1% /"'
}
# run COMMAND...: runs it with what is pretended, and keeps its output
run() {
    PATH=$work/fake:$work/bin TOLLGATE_LOOK_ROOT=$top "$@" >"$work/said" 2>&1
}
# says TEXT...: expects each text in the output of the last run
says() {
    for text in "$@"; do
        grep -qF -- "$text" "$work/said" || wrong "$what: not said: $text; but: $(cat "$work/said")"
    done
}
# look WHAT USE CODE TEXT...: expects that ready.sh exits with this code, and prints each text
look() {
    what=$1 expected=$3
    run sh docker/ready.sh "$2" --look
    code=$?
    shift 3
    [ "$code" = "$expected" ] || wrong "$what: the exit code is $code: $(cat "$work/said")"
    says "$@"
}

fresh
look 'nothing in the way' demo 0 'demo.sh installs nothing' 'demo.sh takes about'
look 'nothing in the way' quick 0 'run.sh installs nothing' 'run.sh takes about three minutes'
look 'nothing in the way' tests 0 'run.sh installs nothing' 'run.sh takes at most 25 minutes'
fake dpkg-query 'exit 1'
look 'a bare machine' demo 0 'demo.sh installs 2' ' gcc ' 'MB to download'

printf 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04 LTS"\n' >"$top/etc/os-release"
look 'another system' demo 69 'demo.sh: this machine runs Ubuntu 24.04 LTS' 'docker run --rm -it --network host --security-opt seccomp=' \
    ' debian:12 sh docker/demo.sh'
look 'another system' tests 69 'docker run --rm -it --privileged' ' debian:12 sh tests/run.sh'
for command in 'docker/demo.sh --once' 'tests/run.sh' 'tests/run.sh --quick'; do
    what=$command
    # shellcheck disable=SC2086 # a command and its option
    run sh $command
    code=$?
    [ "$code" -eq 69 ] || wrong "$command ends with $code where it cannot run: $(cat "$work/said")"
    says 'this machine runs Ubuntu 24.04 LTS'
done
rm "$top/etc/os-release"
look 'no system' quick 69 'runs a system without /etc/os-release' 'sh tests/run.sh --quick'
printf 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n' >"$top/etc/os-release"
look 'a later Debian' demo 69 'this machine runs Debian GNU/Linux 13 (trixie)'

fresh
echo 5.10.0-28-amd64 >"$top/proc/sys/kernel/osrelease"
look 'an old kernel' demo 69 'this is Linux 5.10.0-28-amd64' 'Linux 6.1 or later' 'boot'
echo 7.0-rc1 >"$top/proc/sys/kernel/osrelease"
look 'a later kernel' demo 0
echo 2 >"$top/proc/sys/kernel/io_uring_disabled"
look 'io_uring is off' demo 69 'the sysctl kernel.io_uring_disabled is 2' 'sysctl -w kernel.io_uring_disabled=0'
echo 1 >"$top/proc/sys/kernel/io_uring_disabled"
look "io_uring is root's" demo 0
fake id 'echo 1000'
look "io_uring is root's" demo 69 'the sysctl kernel.io_uring_disabled is 1'
fresh
fake perl 'echo 38'
look 'no io_uring' demo 69 'was built without io_uring'
fake perl 'echo 1'
look 'a security module' demo 69 'a security module'

fresh
fake id 'echo 1000'
look 'a user, and nothing is missing' demo 0
look 'a user, and the package needs root' tests 69 "run: su -c 'sh tests/run.sh'"
fake dpkg-query 'exit 1'
look 'a user without sudo' demo 69 'only root can install them, and sudo is not installed here' "run: su -c 'sh docker/demo.sh'"
# shellcheck disable=SC2016 # the program that is written expands it
fake sudo 'echo "sudo was asked for: $*"'
look 'a user with sudo' demo 0 'demo.sh installs'
look 'a user with sudo, and the package needs root' tests 69 'run: sudo sh tests/run.sh'
what='a user with sudo'
run sh docker/deps.sh run build
says 'sudo is called, because' 'sudo was asked for: sh docker/deps.sh run build'

fresh
fake dpkg-query 'exit 1'
fake df 'echo head' 'echo "/dev/one 99999 1 300 1% /"'
look 'a full disk' demo 69 'the file system /dev/one (/usr, ' 'has 300 MiB free, and this command needs ' 'delete files there'
# shellcheck disable=SC2016 # the program that is written expands it
fake df 'echo head' 'case $2 in /tmp) echo "tmpfs 99999 1 9 1% /tmp" ;; *) echo "/dev/one 99999 1 9999 1% /" ;; esac'
look 'a small /tmp' tests 69 'the file system tmpfs (/tmp) has 9 MiB free'
echo 2 >"$top/proc/sys/kernel/io_uring_disabled"
look 'two in the way' tests 69 'kernel.io_uring_disabled is 2' 'the file system tmpfs'

# ---- a real filter, which answers io_uring_setup with EPERM, as Docker's does, or ENOSYS, as old ones do
cat >"$work/filtered.py" <<'PYTHON'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def one(code, yes, no, value): return struct.pack("HBBI", code, yes, no, value)
rules = one(0x20, 0, 0, 0) + one(0x15, 0, 1, 425) + one(0x06, 0, 0, 0x00050000 | int(sys.argv[1])) + one(0x06, 0, 0, 0x7fff0000)
buffer = ctypes.create_string_buffer(rules)
class program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("rules", ctypes.c_void_p)]
assert libc.prctl(38, 1, 0, 0, 0) == 0 # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(program(4, ctypes.addressof(buffer))), 0, 0) == 0 # PR_SET_SECCOMP
os.execvp(sys.argv[2], sys.argv[2:])
PYTHON
for errno in 1 38; do
    python3 "$work/filtered.py" "$errno" sh docker/ready.sh demo --look >"$work/said" 2>&1 &&
        wrong 'a seccomp filter is not noticed'
    what="a seccomp filter that answers $errno"
    says 'a seccomp profile refuses io_uring here' "--security-opt seccomp='$PWD/docker/seccomp.json'"
done

# ---- apt's locks, held by a real process
fresh
rm "$work/fake/perl"
fake dpkg-query 'exit 1'
# shellcheck disable=SC2016 # the program that is written expands it
fake apt-get 'echo "$*" >>"$TOLLGATE_LOOK_ROOT/apt"'
for lock in lib/apt/lists/lock lib/dpkg/lock-frontend; do
    what="apt's lock $lock"
    python3 -c 'import fcntl, sys, time; file = open(sys.argv[1], "w"); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); time.sleep(60)' \
        "$top/var/$lock" >"$work/held" &
    holder=$!
    tries=0
    until [ -s "$work/held" ] || [ "$tries" -eq 300 ]; do sleep 0.1; tries=$((tries + 1)); done
    rm -f "$top/apt"
    TOLLGATE_LOCK_WAIT_S=1 run sh docker/deps.sh run
    [ $? -eq 75 ] || wrong "$what: deps.sh does not give up"
    says "process $holder (python3" "holds apt's lock $top/var/$lock; deps.sh waits for it, 1 s at most" 'still holds' "ps -fp $holder"
    [ ! -e "$top/apt" ] || wrong "$what: apt-get is called while it is held"
    (sleep 1; kill "$holder") &
    run sh docker/deps.sh run || wrong "$what: deps.sh ends with $?: $(cat "$work/said")"
    says 'deps.sh waits for it, 300 s at most'
    grep -qs 'DPkg::Lock::Timeout=300' "$top/apt" || wrong "$what: apt-get is not called, or not told to wait: $(cat "$work/said" "$top/apt")"
    wait "$holder" 2>/dev/null
    holder=
    : >"$work/held"
done
[ ! -e "$top/usr/sbin/policy-rc.d" ] || wrong 'policy-rc.d is left behind'

[ "$failed" = no ] && echo 'ready: all is said'
