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
name=soak.sh
. "$root/tests/faults/soak/begin.sh"
run main.py "$@"
