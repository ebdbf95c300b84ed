#!/bin/sh
# Runs clang-tidy over every source file, and prints only what it found. Needs build/tests.
#
#   tests/tidy.sh            its analyzer follows 20,000 states of each function, in a third of the time
#   tests/tidy.sh --whole    as many as by itself, 225,000: a part of tests/run.sh --long
#
# Each process starts with the niceness that the file $TIDY_NICE holds, if it is set, so that others can change it.
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
'') states=20000 ;;
--whole) states=225000 ;;
*) echo "tidy.sh: unknown option '$1'; see the head of $0" >&2; exit 64 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found=$work/found
echo 0 >"$work/nice"
niceness=${TIDY_NICE:-$work/nice}
export states niceness
# shellcheck disable=SC2016 # the inner shell expands it
find server tokens storage bench -name '*.c' -print0 |
    xargs -0 -P 2 -n 1 sh -c 'nice -n "$(cat "$niceness")" clang-tidy --quiet -p build/tests --extra-arg=-Xclang \
        --extra-arg=-analyzer-config --extra-arg=-Xclang --extra-arg=max-nodes="$states" "$0" ||
        echo "error: clang-tidy fails at $0"' >"$found" 2>&1
! grep -E -A 3 'error:|warning:' "$found"
