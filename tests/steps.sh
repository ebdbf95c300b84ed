#!/bin/sh
# Holds the steps of a connection against what server/delivery/step.h says: each step's function is named in its own file
# and in the table alone, and only driver.c changes a connection's state, closes it, refuses and cuts. Prints each line that
# does otherwise.
set -u
cd "$(dirname "$0")/.." || exit 70

found=0
# only PATTERN FILE: no other file of the server has such a line.
only() {
    lines=$(grep -rnE -e "$1" server --include='*.[ch]' | grep -v "^$2:")
    [ -z "$lines" ] || { echo "$lines"; found=1; }
    grep -qE -e "$1" "$2" || { echo "$2: has no line for $1, so this check would find nothing"; found=1; }
}

steps=$(sed -n 's/^    X([A-Z]*, \(step_[a-z]*\)) .*/\1/p;s/^    X([A-Z]*, \(step_[a-z]*\))$/\1/p' server/delivery/step.h)
[ "$(echo "$steps" | wc -l)" -ge 9 ] || { echo "server/delivery/step.h: the table of steps cannot be read"; exit 1; }
for step in $steps; do
    files=$(grep -rlwE "$step" server --include='*.[ch]' | grep -vx server/delivery/step.h)
    [ "$(echo "$files" | wc -w)" -eq 1 ] || { echo "$step: is named in" "$files" "and may be in its own file alone"; found=1; }
done

driver=server/delivery/driver.c
only 'connection->state( =[^=]|\+\+|--| [-+|&^]=)' $driver
only '(^|[^_a-z])connection_close\(' $driver
only 'exchange_end\(worker, connection\);' $driver
only 'in_flight\+\+' server/delivery/connection_ring.c
exit "$found"
