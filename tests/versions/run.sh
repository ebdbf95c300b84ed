#!/bin/sh
# Replays what this version and the one before have recorded (record.sh) against the functions and the journal of this
# version, and what this version has recorded against those of a next version.
#
#   sh tests/versions/run.sh    some seconds; uses what `ninja -C build/tests` has built
set -eu
cd "$(dirname "$0")/../.."
from=tests/versions
first=20 # the first version that was recorded: there is none before it
build=build/tests
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "run.sh: $1" >&2
    exit 1
}
version() {
    "$build/tollgate" --version --json | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p"
}
functions=$(version functions_format)
journal=$(version journal_format)
for kept in "functions-$functions-nodes.calls.gz" "journal-$journal.tar.gz"; do
    [ -f "$from/$kept" ] || fail "$from/$kept is missing; run: sh tests/versions/record.sh (see $from/README.md)"
done
[ "$functions" -le "$first" ] || [ -f "$from/functions-$((functions - 1))-nodes.calls.gz" ] ||
    fail "what version $((functions - 1)) of the functions recorded is missing; bring it back from the repository"

# calls PROGRAM MODE VERSION
calls() {
    for kept in "$from/functions-$3-"*.calls.gz; do
        [ -f "$kept" ] || continue
        gzip -dc "$kept" >"$work/calls"
        "$build/$1" "$2" "$work/calls" ||
            fail "$kept: answers differ; $from/README.md says what to do (\"Raising a version\")"
    done
}
# journals PROGRAM VERSION...
journals() {
    program=$1
    shift
    list=
    for number in "$@"; do
        [ -f "$from/journal-$number.tar.gz" ] || continue
        mkdir -p "$work/journal-$number"
        tar -C "$work/journal-$number" --no-same-owner -xzf "$from/journal-$number.tar.gz"
        list=$list${list:+:}$work/journal-$number
    done
    VERSIONS_JOURNALS=$list "$build/$program" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; fail "a journal that was kept comes to something else; see $from/README.md (\"Raising a version\")"; }
    grep Synthesis "$work/log"
}

for number in "$functions" "$((functions - 1))"; do
    calls versions-calls replay "$number"
    calls versions-calls redis "$number"
done
calls versions-calls-step-1 replay "$functions"
journals versions-journal "$journal" "$((journal - 1))"
journals versions-journal-step-1 "$journal"
"$build/versions-library-step-1" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail 'a next version does not keep to the rules of libraries'; }
grep Synthesis "$work/log"
