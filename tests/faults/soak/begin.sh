# Sourced by soak.sh and chaos.sh: what both need before they begin. $root is the checkout, $name the script's.
# shellcheck shell=sh disable=SC2154 # the scripts set $root and $name

case ${1:-} in
'') sed -n '/^#   /p' "$0" | sed 's/^# //' >&2; exit 64 ;;
-h | --help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
esac
for program in python3 redis-server unshare mount gcc lame; do
    command -v "$program" >/dev/null || {
        echo "$name: $program is missing; run: sh docker/deps.sh run build demo test" >&2
        exit 69
    }
done
tollgate=${TOLLGATE_BINARY:-$root/build/tests/tollgate}
[ -x "$tollgate" ] || { echo "$name: $tollgate is missing; run: tests/run.sh --quick" >&2; exit 69; }
[ "$(id -u)" -eq 0 ] || { echo "$name: only root may mount the disk that fills; run it as root" >&2; exit 77; }

media=$root/build/catalogue/media
sh "$root/docker/catalogue.sh" "$media" >/dev/null

# The mounts exist only in the run's own mount namespace, and end with it.
run() {
    program=$root/tests/faults/soak/$1
    shift
    exec unshare --mount --propagation private \
        python3 -B "$program" --tollgate "$tollgate" --catalogue "$media" "$@"
}
