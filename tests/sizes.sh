#!/bin/sh
# A file is one idea, and a function fits on a screen. Prints each source file of more than 500 lines and each C function
# of more than 60, and exits 1 where there is one. What is generated lies in build/, and tables, texts and corpora are not
# among these kinds of file; so no file is excepted.
set -u
cd "$(dirname "$0")/.." || exit 70

found=0
kinds=$(find bench docker server storage tests tokens -name '*.[ch]' -o -name '*.lua' -o -name '*.py' -o -name '*.sh' -o -name '*.js')
# shellcheck disable=SC2086 # names of ours, without spaces
lines=$(wc -l $kinds | awk '$2 != "total" && $1 > 500 { print $2 ": " $1 " lines; a second idea needs a file of its own (500 at most)" }')
[ -z "$lines" ] || { echo "$lines"; found=1; }

# clang-format puts the braces of a function, and no others, in the first column.
sources=$(echo "$kinds" | grep '\.[ch]$')
# shellcheck disable=SC2086 # as above
lines=$(awk 'FNR == 1 { opened = 0 }
    /^{/ { opened = FNR }
    /^}/ && opened { if (FNR - opened - 1 > 60) print FILENAME ":" opened ": a function of " FNR - opened - 1 " lines (60 at most)"; opened = 0 }' $sources)
[ -z "$lines" ] || { echo "$lines"; found=1; }
[ "$(echo "$sources" | wc -l)" -gt 300 ] || { echo "only $(echo "$sources" | wc -l) C files were found"; found=1; }
exit "$found"
