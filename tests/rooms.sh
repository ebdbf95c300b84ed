#!/bin/sh
# Holds the includes against the table of rooms in server/README.md: which folder may use which. Prints each include that
# the table does not allow, each row that uses one below it, and each file of server/ that is in no room.
set -u
cd "$(dirname "$0")/.." || exit 70

# shellcheck disable=SC2016 # backquotes of Markdown
table=$(sed -n 's/^| `\([a-z_]*\)` | .* | \([a-z_, ]*\) *|$/\1:\2/p' server/README.md | tr -d ',')
found=0
say() {
    echo "$1"
    found=1
}

# strangers FOLDER ALLOWED...: the includes of FOLDER that are neither its own nor base nor allowed.
strangers() {
    folder=$1
    shift
    allowed=server/base/
    for used in "$@"; do
        case $used in
        tokens) allowed="$allowed|tokens/" ;;
        media | ledger) allowed="$allowed|storage/$used/" ;;
        *) allowed="$allowed|server/$used/" ;;
        esac
    done
    lines=$(grep -rnE '#include "' "$folder" --include='*.[ch]' | grep -vE "#include \"($allowed|$folder/|[a-z_]+\.h\")")
    [ -z "$lines" ] || say "$lines"
}

above='tokens media ledger'
rooms=0
for row in $(echo "$table" | tr ' ' '+'); do
    room=${row%%:*}
    uses=$(echo "${row#*:}" | tr '+' ' ')
    [ -d "server/$room" ] || say "server/README.md: there is no folder server/$room"
    for used in $uses; do
        case " $above " in *" $used "*) ;; *) say "server/README.md: $room uses $used, which does not stand above it" ;; esac
    done
    # shellcheck disable=SC2086 # a list of rooms
    strangers "server/$room" $uses
    above="$above $room"
    rooms=$((rooms + 1))
done
strangers tokens
strangers storage/media
strangers storage/ledger
strangers bench tokens | grep -v '^bench/micro/' && found=1 # which measures the others

for entry in server/*; do
    case $entry in
    server/main.c | server/CMakeLists.txt | server/README.md) ;;
    *) case " $above " in *" ${entry#server/} "*) [ -d "$entry" ] ;; *) false ;; esac || say "$entry: is in no room of server/README.md" ;;
    esac
done
[ "$rooms" -ge 15 ] || say "server/README.md: the table of rooms has $rooms rows"
exit "$found"
