#!/bin/sh
# Does what README.md says, as a reader would: runs each of its command blocks, in order, in one shell, in a fresh copy
# of the checkout, and looks for the results that README.md promises; then what storage/README.md says of a disputed
# payment, in the same shell. Also holds README.md to 120 lines.
#
#   tests/readme.sh      some 20 seconds; uses build/tests/tollgate
#
# A new block of README.md is run without any change here. What is not run as it stands is in two lists below (blocks,
# lines), each with the reason. An entry that README.md no longer has is a failure.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
name=readme
. "$root/tests/node.sh"
cd "$root"
lines=$(wc -l <README.md)
[ "$lines" -le 120 ] || fail "README.md has $lines lines; 120 at most, so move something to the page of a folder"

# The blocks, indented by four spaces or fenced, one file each.
# blocks DIRECTORY: those of standard input
blocks() {
    mkdir "$1"
    awk -v directory="$1/" '
        function begin() { file = sprintf("%s%02d", directory, ++count); printf "" >file }
        /^ *(```|~~~)/ { fenced = !fenced; if (fenced) begin(); else close(file); inside = 0; blank = 1; next }
        fenced { print >file; next }
        /^    / && (blank || inside) { if (!inside) begin(); inside = 1; print substr($0, 5) >file; blank = 0; next }
        /^[[:space:]]*$/ { if (inside) print "" >file; blank = 1; next }
        { inside = 0; blank = 0 }'
}
blocks "$work/blocks" <README.md

# ---- blocks that are not run, by how they begin
commands=$work/commands
not_run=0
for block in "$work/blocks"/*; do
    case $(cat "$block") in
    'sh tests/run.sh') not_run=$((not_run + 1)) ;;       # this test is a part of it
    'client ---> worker: '*) not_run=$((not_run + 1)) ;; # a picture
    'curl received '*) not_run=$((not_run + 1)) ;;       # what the block above it prints; looked for below
    *) cat "$block" >>"$commands" ;;
    esac
done
[ "$not_run" -eq 3 ] || fail "of the three blocks that are not run, README.md has $not_run; adapt the list in tests/readme.sh"

# ---- what storage/README.md adds, while the node runs
awk '/^## /{ on = $0 == "## A disputed payment" } on' storage/README.md | blocks "$work/finance"
[ "$(cat "$work/finance"/* | grep -c '^tollgate ')" -eq 6 ] ||
    fail 'storage/README.md no longer has six commands under "A disputed payment"; adapt tests/readme.sh'
cat "$work/finance"/* >>"$commands"

# ---- lines that are replaced
# replace OLD NEW: once, in the line that begins with OLD
replace() {
    [ "$(grep -cF "$1" "$commands")" -eq 1 ] || fail "README.md no longer has once: $1"
    awk -v old="$1" -v new="$2" '(at = index($0, old)) { $0 = substr($0, 1, at - 1) new substr($0, at + length(old)) } { print }' \
        "$commands" >"$commands.new"
    mv "$commands.new" "$commands"
}
# Port 8080 may be taken, so the line gets what README.md says for that case.
node_port=$(free_port)
replace "{ echo 'media_root: media';" "{ echo 'listen: 127.0.0.1:$node_port'; echo 'media_root: media';"

# ---- the fresh copy, of what git tracks (or without git: of everything but what builds and readers make)
copy=$work/checkout
mkdir "$copy" "$work/bin"
git ls-files >"$work/files" 2>/dev/null ||
    find . \( -path './build*' -o -path ./work -o -path ./.git \) -prune -o -type f -print >"$work/files"
tar --create --files-from="$work/files" | tar -C "$copy" --extract
# The demo finds its catalogue made, and two stand-ins for the build, which take the program from the tests' build (the
# same sources, also Release). `tests/run.sh --long` installs and builds with the demo in a bare Debian 12.
mkdir -p "$copy/build/demo"
cp -a "$media" "$media/../catalogue.media.done" "$copy/build/demo/"
echo '#!/bin/sh' >"$work/bin/cmake"
printf '#!/bin/sh\ncp "%s" build/\n' "$tollgate" >"$work/bin/ninja"
chmod +x "$work/bin/cmake" "$work/bin/ninja"

# At the end, whatever it is, the shell stops the node that the commands left behind.
{
    # shellcheck disable=SC2016 # that shell expands it
    echo 'trap '\''[ -z "${!-}" ] || { kill "$!"; wait "$!"; }'\'' EXIT; trap "exit 143" TERM'
    cat "$commands"
} >"$work/script"
step "runs $(grep -c . "$commands") lines of README.md"
unset TOLLGATE_CONFIG
(cd "$copy" && PATH="$work/bin:$PATH" exec timeout -k 10 120 sh -eu "$work/script") >"$work/output.log" 2>&1 &
processes=$!
wait "$processes" || fail "README.md's commands end with exit code $?, after the output below"
processes=

# ---- what README.md promises
# promise TEXT PATTERN: README.md has TEXT in a block, and a line of the output has the extended regular expression.
promise() {
    grep -qF "$1" "$work/blocks"/* || fail "README.md no longer promises: $1"
    grep -qE "$2" "$work/output.log" || fail "README.md promises '$1', and the commands print something else"
}
demo='curl received 67787 bytes, and 67787 bytes were billed to shop/demo.'
promise "$demo" "^ *$demo\$"
promise '# ./tollgate.yaml: ok' '^\./tollgate\.yaml: ok$'
promise '# ends with: Verdict: admitted ...' '^Verdict: admitted'
promise '# 2251 bytes, 1 response, /song.mp3' '2251.* 1 .*/song\.mp3'
promised=$(cat "$work/blocks"/* | grep -c '  # ')
[ "$promised" -eq 3 ] || fail "README.md promises $promised results behind a command, and this test looks for 3"
grep -q '^download a-1-1 of shop/alice' "$work/output.log" || fail "storage/README.md's commands show no download"
grep -q '^head of [0-9-]* so far: ' "$work/output.log" || fail "storage/README.md's commands show no evidence"
grep -q '<bdi>/song.mp3</bdi>' "$copy/work/evidence.html" || fail "storage/README.md's commands make no page"
cmp "$copy/work/song.mp3" "$copy/work/media/song.mp3" || fail 'the download is not the file'
step 'all passed'
