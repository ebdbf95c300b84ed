#!/bin/sh
# Records what this version does, for the version that comes after it: calls of the functions with their answers, as the
# nodes of the simulator make them and at random, and a state directory with what Redis had of it. run.sh holds this
# version and the next one to that.
#
#   sh tests/versions/record.sh    writes functions-N-*.calls.gz and journal-N.tar.gz beside this script
#
# Run it once LEDGER_FUNCTIONS_FORMAT or LEDGER_JOURNAL_FORMAT was raised, and keep the files of the version before; and
# again when either changes before it was released. README.md here says when that is.
set -eu
cd "$(dirname "$0")/../.."
to=tests/versions
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -f build/tests/build.ninja ] || cmake --preset tests >/dev/null
ninja -C build/tests simulation tollgate versions-calls versions-journal >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 70; }

version() {
    build/tests/tollgate --version --json | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p"
}
functions=$(version functions_format)
journal=$(version journal_format)
echo "functions $functions, journal $journal"

build/tests/simulation --record "$work/nodes" --seeds 2 2>/dev/null
build/tests/versions-calls record "$work/random"
for kind in nodes random; do gzip -9n <"$work/$kind" >"$to/functions-$functions-$kind.calls.gz"; done

mkdir "$work/made"
VERSIONS_RECORD=$work/made build/tests/versions-journal --filter '*/make' >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 70; }
tar -C "$work/made" --owner=0 --group=0 --sort=name -cf - facts state | gzip -9n >"$to/journal-$journal.tar.gz"

# Two versions back are kept by nobody.
rm -f "$to/functions-$((functions - 2))-"*.calls.gz "$to/journal-$((journal - 2)).tar.gz"
ls -l "$to"/*.gz
