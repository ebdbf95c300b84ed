#!/bin/sh
# Load over all kinds of link while everything around the node fails; then the bill is compared with what arrived.
#
#   tests/faults/soak.sh --minutes N     N minutes (1 to 1440); each fault once in three minutes, at least once
#   tests/faults/soak.sh --seconds N     the same in seconds, from 45 on
#   ... --rounds N                       each fault N times, whatever the length
#   ... --seed N                         the same order, holds and clients as in the run that printed this seed
#   ... --verbose                        also a line for each fault that begins and ends
#   ... --keep                           leave the directory (logs, journal, Redis' files), and say where it is
#
# Faults: Redis is stalled, killed, emptied; the journal's disk fills; the wall clock of node and Redis steps; the node
# is killed. Prints a line a minute (ten seconds in a run of a minute or less), then a table of the faults, then each
# promise with what was found. Exits 0 where all hold, 1 where one does not. Needs root, for a small disk of its own.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)

case ${1:-} in
'') sed -n '4,13s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
-h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
for program in python3 redis-server unshare mount gcc lame; do
    command -v "$program" >/dev/null || {
        echo "soak.sh: $program is missing; run: sh docker/deps.sh run build demo test" >&2
        exit 69
    }
done
tollgate=${TOLLGATE_BINARY:-$root/build/tests/tollgate}
[ -x "$tollgate" ] || { echo "soak.sh: $tollgate is missing; run: tests/run.sh --quick" >&2; exit 69; }
[ "$(id -u)" -eq 0 ] || { echo "soak.sh: only root may mount the disk that fills; run it as root" >&2; exit 77; }

media=$root/build/catalogue/media
sh "$root/docker/catalogue.sh" "$media" >/dev/null
# The mount exists only in the soak's own mount namespace, and ends with it.
exec unshare --mount --propagation private \
    python3 -B "$root/tests/faults/soak/main.py" --tollgate "$tollgate" --catalogue "$media" "$@"
