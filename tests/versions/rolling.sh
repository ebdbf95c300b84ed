#!/bin/sh
# A rolling upgrade of three nodes under load to the next version, one after another; then each bill is compared with what
# arrived, and nodes of versions that may not run together are started.
#
#   sh tests/versions/rolling.sh            one round, some 30 seconds
#   ... --long                              ten rounds with longer pauses; in each second one the nodes are killed
#   ... --rounds N --pause SECONDS --seed N
#   ... --keep                              leave the directory (logs, journals), and say where it is
#
# The next version is tollgate-step-1, which differs by TOLLGATE_VERSION_STEP alone. Exits 0 where all held, 1 otherwise.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
case ${1:-} in -h | --help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac
if [ "${1:-}" = --long ]; then
    shift
    set -- --rounds 10 --pause 8 "$@"
fi
build=$root/build/tests
for program in tollgate tollgate-step-1 tollgate-step-2; do
    [ -x "$build/$program" ] || { echo "rolling.sh: $build/$program is missing; run: ninja -C build/tests $program" >&2; exit 69; }
done
media=$root/build/catalogue/media
sh "$root/docker/catalogue.sh" "$media" >/dev/null
exec python3 -B "$root/tests/faults/soak/rolling.py" --old "$build/tollgate" --new "$build/tollgate-step-1" \
    --after "$build/tollgate-step-2" --catalogue "$media" "$@"
