#!/bin/sh
# Finds phrases that readers stumbled over, in code, messages and papers. Prints file, line and what to write instead.
#
#   tests/english.sh [FILE...]    the files given, else all of the source tree
#
# A line of the list is a Perl regular expression, a tab, and the cure. Add phrases that a reader had to read twice.
set -u
cd "$(dirname "$0")/.." || exit 70

list=$(mktemp)
found=$(mktemp)
trap 'rm -f "$list" "$found"' EXIT
cat >"$list" <<'PHRASES'
(?<!here )\b(is|are|was|were) no (?!longer|more|later|less|lower|older|fewer|better|earlier|such)\w	write "is not a ..."
\banew\b	write "again"
\bby (it|them)\b	name the thing: "with the link"
\bwants? an? 	write "needs a ..."
\bof whoever\b	name who: "of the worker that asked"
\bwhich see\b	name the place
\b(so|as) said\b	leave it out
\btells? of\b	write "says" or "reports"
\bis none of\b	write "is not one of"
\bstands? there once\b	say what is given twice
\bsee to\b	write "check" or "repair"
\bgoes before it\b	write "comes first"
\btaken for its own\b	say whose address counts
\basks of it\b	write "requires"
\bin good time\b	write "in time"
\bmore than it takes\b	say which limit was reached
\bits own words\b	write "its log" or "its message"
\bno word of\b	write "nothing about"
PHRASES

if [ $# -gt 0 ]; then
    printf '%s\n' "$@"
else
    find . \( -name build -o -name .git -o -name node_modules -o -name corpus -o -name vectors \) -prune -o -type f \
        \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.js' -o -name '*.mjs' -o -name '*.html' -o -name '*.md' \
        -o -name '*.json' -o -name '*.lua' -o -name '*.yaml' -o -name '*.cmake' \) ! -name english.sh -print
fi | sort >"$found"

status=0
tab=$(printf '\t')
while IFS=$tab read -r phrase cure; do
    # shellcheck disable=SC2046 # no file of the tree has a space in its name
    grep -nPi -- "$phrase" /dev/null $(cat "$found") | sed "s|^\./||; s|\$|    <- $cure|" | grep . && status=1
done <"$list"
exit "$status"
