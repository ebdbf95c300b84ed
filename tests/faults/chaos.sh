#!/bin/sh
# Two nodes, a Redis with two replicas under three Sentinels, clients and a shop at both, and real faults by chance; then
# each account's bill is compared with what arrived.
#
#   tests/faults/chaos.sh --faults N     N faults, each kind as often as the others; some four seconds each
#   ... --seed N                         the same faults in the same order as in the run that printed this seed
#   ... --first N --last N               of these, only those with the numbers from the first to the last
#   ... --kind KIND                      only this kind of fault, or these; may be given again
#   ... --verbose                        also a line for each fault that begins and ends
#   ... --keep                           leave the directory (logs, journals, Redis' files), and say where it is
#
# Faults: kinds.py in soak/ lists them. Prints a line a minute, then a table of the kinds, then each promise with what
# was found. Exits 0 where all hold, 1 where one does not. Needs root, for small disks of its own.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
name=chaos.sh
. "$root/tests/faults/soak/begin.sh"
run chaos.py "$@"
