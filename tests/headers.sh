#!/bin/sh
# Compiles each header alone, so that nobody who includes it must include something else first.
#
#   tests/headers.sh [HEADER...]    those that are named, else all of the product
set -eu
cd "$(dirname "$0")/.."

flags=$(pkg-config --cflags liburing libcrypto libssl libxxhash hiredis libzstd jansson yaml-0.1 libsystemd)
# shellcheck disable=SC2046 # names of ours, without spaces
[ $# -gt 0 ] || set -- $(find server tokens storage bench -name '*.h')
for header in "$@"; do
    # shellcheck disable=SC2086 # flags are a list
    gcc -std=gnu11 -D_GNU_SOURCE -I. $flags -fsyntax-only -Wall -Wextra -x c "$header"
done
