#!/bin/sh
# Installs what is missing, builds, and runs every test and check of Tollgate.
#
#   tests/run.sh                  everything: also ASan + UBSan, TSan, fuzz corpora, static checks, package, image
#   tests/run.sh --quick          release build and its tests only
#   tests/run.sh --list           names each check and runs none; with --quick, those of --quick
#   tests/run.sh --only NAME      the checks whose name contains NAME, after the builds that they need; also with --quick
#   tests/run.sh --long [PART]... the parts that take too long for that; --long --list lists them
#
# tests/README.md says how long each may take.
# Ends with one line, "N passed, N failed", and exits 1 where anything failed.
set -u
cd "$(dirname "$0")/.." || exit 70

quick=no
list=no
only= # a part of the names of the checks that run
while [ $# -gt 0 ]; do
    case $1 in
    '') ;;
    --quick) quick=yes ;;
    --list) list=yes ;;
    --only)
        only=${2:-}
        [ -n "$only" ] || { echo "run.sh: --only needs a part of a check's name; see --list" >&2; exit 64; }
        shift
        ;;
    --long) shift; exec sh tests/long.sh "$@" ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown option '$1'; see --help" >&2; exit 64 ;;
    esac
    shift
done

begun=$(date +%s)
work=$(mktemp -d)
results=$work/results # a line for each check: how many passed, how many failed
ended=$work/ended     # the names of the checks that have ended, one a line
beside=               # processes of the checks that run beside the others
niceness=0            # of the builds and of cppcheck
touch "$ended"
clean_up() {
    # shellcheck disable=SC2086 # a list of numbers
    kill $beside 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# The checks are gone through twice: first planning, which writes down the names of those that will run, then running.
plan=$work/plan
planning=yes
needed= # names of the builds that the checks from here on need, one a line

needs() {
    needed=$(printf '%s\n' "$@")
}

# runs NAME: whether this check runs now.
runs() {
    if [ "$planning" = no ]; then
        grep -qxF -e "$1" "$plan"
    else
        case $1 in *"$only"*) printf '%s\n' "$needed" "$1" >>"$plan" ;; esac
        false
    fi
}

# check NAME COMMAND...: one check, passed or failed as a whole.
check() {
    runs "$1" || return 0
    name=$1
    shift
    log=$(mktemp "$work/XXXXXX")
    started=$(date +%s)
    if "$@" >"$log" 2>&1; then
        echo '1 0' >>"$results"
        echo "PASS  $name ($(($(date +%s) - started)) s)"
    else
        echo '0 1' >>"$results"
        printf 'FAIL  %s (%s s)\n%s\n' "$name" "$(($(date +%s) - started))" "$(tail -n 60 "$log")"
    fi
    echo "$name" >>"$ended"
}

# jobs_of BINARY: how many tests to run at once. They wait for most of their time.
jobs_of() {
    case $1 in *integration*) echo 10 ;; *faults*) echo 4 ;; *) echo 6 ;; esac
}

# passes_alone NAME LOG BINARY: whether the one or two tests that failed in a suite pass alone. Beside others, and under a
# sanitizer, which makes the node up to ten times slower, a test may not have waited long enough. What failed is told all
# the same, for it may have found a race. A sanitizer's report and a crash have no excuse.
passes_alone() {
    failed=$(sed -n 's|^\[FAIL\] \([a-z0-9_]*\)::\([a-z0-9_]*\):.*|\1/\2|p' "$2" | sort -u)
    [ -n "$failed" ] && [ "$(echo "$failed" | wc -l)" -le 2 ] || return 1
    printf 'UNSTEADY  %s:\n%s\n' "$1" "$(grep -a -E '^\[(----|FAIL)\]' "$2" | head -n 30)"
    for test in $failed; do
        TSAN_OPTIONS=log_path=$races/tsan timeout 300 "$3" --filter "$test" >>"$2" 2>&1 || return 1
    done
    ! grep -a -q -E 'Sanitizer|runtime error:|Crashing: [1-9]' "$2"
}

# suite NAME BINARY [FILTER]: runs a Criterion binary and adds its summary to ours. No summary is a failure. TSan reports
# to files, so that the report of a node that a test kills is not lost.
suite() {
    runs "$1" || return 0
    name=$1
    log=$(mktemp "$work/XXXXXX")
    races=$(mktemp -d "$work/XXXXXX")
    started=$(date +%s)
    TSAN_OPTIONS=log_path=$races/tsan timeout 1200 "$2" --jobs "$(jobs_of "$2")" ${3:+--filter "$3"} >"$log" 2>&1
    summary=$(grep -a '^\[====\] Synthesis:' "$log" | tail -n 1)
    tested=$(echo "$summary" | sed -n 's/.*Tested: \([0-9]*\).*/\1/p')
    good=$(echo "$summary" | sed -n 's/.*Passing: \([0-9]*\).*/\1/p')
    if [ -z "$tested" ] || [ "$tested" -eq 0 ]; then
        echo '0 1' >>"$results"
        printf 'FAIL  %s: ran no test\n%s\n' "$name" "$(tail -n 60 "$log")"
        return
    fi
    if [ "$good" -ne "$tested" ] && passes_alone "$1" "$log" "$2"; then good=$tested; fi
    if ! rmdir "$races" 2>/dev/null; then
        cat "$races"/*
        good=$((tested - 1))
    fi
    echo "$good $((tested - good))" >>"$results"
    if [ "$tested" -eq "$good" ]; then
        echo "PASS  $name: $good of $tested ($(($(date +%s) - started)) s)"
    else
        printf 'FAIL  %s: %s of %s (%s s)\n%s\n' "$name" "$good" "$tested" "$(($(date +%s) - started))" \
            "$(grep -a -E '^\[(----|FAIL)\]' "$log" | head -n 60)"
    fi
}

# beside COMMAND...: runs it in the background, until `wait`.
beside() {
    [ "$planning" = no ] || { "$@"; return; }
    "$@" &
    beside="$beside $!"
}

# await NAME: waits for a check that runs beside this one, if it is planned. Its process is the last of $beside.
await() {
    [ "$planning" = no ] && grep -qxF -e "$1" "$plan" || return 0
    until grep -qxF -e "$1" "$ended"; do
        kill -0 "${beside##* }" 2>/dev/null || return 0
        sleep 0.2
    done
}

# skip NAME: says what this run leaves out; --only leaves out most.
skip() {
    [ "$planning" = yes ] || [ -n "$only" ] || echo "SKIP  $1"
}

units() {
    for name_of_unit in tokens media ledger server bench; do
        suite "$1: $name_of_unit" "$2/${name_of_unit}_test"
    done
}

# build PRESET DIRECTORY TARGET...
build() {
    preset=$1
    directory=$2
    shift 2
    cmake --preset "$preset" && nice -n "$niceness" ninja -C "$directory" "$@"
}

# Files that handle secrets may compare bytes by CRYPTO_memcmp only, in the source and in the object file.
secrets_compare_in_constant_time() {
    for source in tokens/algorithm.c server/admin/admin_secrets.c; do
        grep -q 'CRYPTO_memcmp(' "$source" || return 1
        ! grep -nE '(^|[^_A-Za-z])(memcmp|bcmp|strcmp|strncmp|strcasecmp|timingsafe_[a-z]+) *\(' "$source" || return 1
        object=$(find "build/tests/${source%%/*}" -name "${source##*/}.o")
        nm -u "$object" | grep -q ' CRYPTO_memcmp$' || return 1
        ! nm -u "$object" | grep -E ' (__)?(memcmp|bcmp|str[a-z]*cmp)[a-z_]*$' || return 1
    done
}

shell_parses() {
    for script in docker/*.sh docker/package/p* bench/*.sh bench/*/*.sh tests/*.sh tests/*/*.sh; do sh -n "$script" || return 1; done
    if command -v shellcheck >/dev/null; then
        shellcheck -x .githooks/pre-commit tests/simulation/run docker/demo.sh docker/deps.sh docker/ready.sh tests/bare.sh tests/dialect.sh tests/headers.sh tests/long.sh tests/readme.sh tests/ready.sh tests/rooms.sh tests/run.sh tests/runbooks.sh tests/sizes.sh tests/steps.sh tests/tidy.sh tests/versions/*.sh
    fi
}

formatted() {
    find server tokens storage bench tests -name '*.[ch]' -print0 | xargs -0 clang-format --dry-run --Werror
}

# instrumented BINARY SYMBOL: whether the sanitizer is built in; without it, a run would find nothing.
instrumented() {
    nm "$1" | grep -q " $2"
}

replay_corpus() {
    for target in head fields jws target mp3 proxy forwarded; do
        # shellcheck disable=SC2046 # names of ours, without spaces
        "build/fuzz/fuzz_$target" $(find "tests/fuzz/corpus/$target" "tests/fuzz/regressions/$target" -type f) ||
            return 1
    done
}

statics() {
    needs
    check 'rooms: each folder uses those that it may' sh tests/rooms.sh
    check 'steps: only the driver changes states, and no step calls another' sh tests/steps.sh
    check 'one dialect: includes, sizeof, check, sections' sh tests/dialect.sh
    check 'sizes: no file over 500 lines, no function over 60' sh tests/sizes.sh
    check 'plan: its arithmetic, and its table in storage/ledger/README.md' python3 tests/plan.py
    check 'shell scripts parse' shell_parses
    needs 'build: release'
    check 'secrets are compared in constant time' secrets_compare_in_constant_time
    needs
    check 'each header compiles alone' sh tests/headers.sh
    needs 'build: release'
    check 'versions: calls and journal of the version before' timeout 300 sh tests/versions/run.sh
    needs
    check 'ready.sh: what stands in the way is said, with its cure' sh tests/ready.sh
}

quick_checks() {
    check 'build: release' build tests build/tests all
    needs 'build: release'
    # The MP3 tests need ffprobe, whose packages are larger than all others together, so they are left out.
    beside suite 'release: integration' build/tests/integration_test '!(mp3)/*'
    beside suite 'release: faults' build/tests/faults_test
    units release build/tests
    statics
    wait
    skip 'release: integration: mp3 (with ffprobe, in the whole command)'
}

# What tries an installed node. It waits for packages and for systemd most of the time.
installed_checks() {
    needs 'build: release'
    check 'package: installed, used, removed and purged' timeout 900 sh tests/package.sh
    needs
    check 'image: built, and a paid download from it' timeout 900 sh tests/image.sh
}

# What computes, in the order in which the suites need it. It runs beside them, because they wait for most of their
# time. Its builds and cppcheck give way to them, though not wholly: beside another load the suites would wait long for
# a build.
computing_checks() {
    [ "$planning" = yes ] || niceness=5 # planning goes through this function in the same shell as through the others
    needs
    # The integration tests of the release build drive the nodes of the others.
    check 'build: ASan and UBSan' build asan build/asan tollgate tollgate-bench simulation \
        tokens_test media_test ledger_test server_test bench_test
    check 'build: TSan' build tsan build/tsan tollgate
    check 'build: fuzz targets' build fuzz build/fuzz fuzzers
    needs 'build: fuzz targets'
    check 'fuzz corpora and regressions' replay_corpus
    needs
    check 'clang-format' formatted
    # ctuuninitvar mistakes an output parameter of a function in another file for a read.
    check 'cppcheck' nice -n "$niceness" cppcheck --suppress=ctuuninitvar --quiet --error-exitcode=1 --std=c11 -I. -D_GNU_SOURCE \
        --suppress=missingIncludeSystem --suppress=preprocessorErrorDirective --inline-suppr server tokens storage bench
    needs 'build: release'
    check 'simulation: 1,000 seeds keep each promise through each fault' nice -n "$niceness" tests/simulation/run --seeds 1000
    check 'simulation: each planted fault is found' nice -n "$niceness" tests/simulation/run --finds
    check 'rooms and circles: which source file calls which' python3 tests/circles.py
    check 'simulation: the store answers as Redis does, 100,000 calls' timeout 300 nice -n "$niceness" build/tests/simulation_store_test 62
    # It uses both processors, so it comes last, and gives way to the suites until they end.
    check 'clang-tidy' env TIDY_NICE="$work/nice" sh tests/tidy.sh
}

# The suites of the three builds, one after another.
suites() {
    needs 'build: release'
    suite 'release: integration' build/tests/integration_test
    suite 'release: faults' build/tests/faults_test
    units release build/tests
    statics
    await 'build: ASan and UBSan'
    needs 'build: ASan and UBSan'
    check 'ASan is in it' instrumented build/asan/tollgate __asan_init
    check 'asan: simulation' build/asan/simulation --seeds 150
    units asan build/asan
    needs 'build: release' 'build: ASan and UBSan'
    export TOLLGATE_BINARY="$PWD/build/asan/tollgate" TOLLGATE_BENCH="$PWD/build/asan/tollgate-bench"
    suite 'asan: integration' build/tests/integration_test
    suite 'asan: faults' build/tests/faults_test
    unset TOLLGATE_BINARY TOLLGATE_BENCH
    await 'build: TSan'
    needs 'build: TSan'
    check 'TSan is in it' instrumented build/tsan/tollgate __tsan_init
    needs 'build: release' 'build: TSan'
    # Criterion itself does not run under TSan, so the tests of the release build drive a node that does.
    export TOLLGATE_BINARY="$PWD/build/tsan/tollgate"
    # Not what tries commands that have one thread, on files or beside a node that has nothing to do.
    suite 'tsan: integration' build/tests/integration_test \
        '!(bench|doctor|download_evidence|ledger_*|media|media_*|mp3|node_retire|usage)/*'
    suite 'tsan: faults' build/tests/faults_test
    unset TOLLGATE_BINARY
}

# What storefronts and newcomers read.
interface_checks() {
    needs 'build: release'
    check 'openapi: redocly and spectral find nothing, and the node answers as described' timeout 600 sh tests/openapi/run.sh
    check 'examples: links signed in five languages' timeout 600 sh tests/examples.sh
    check 'README.md: its commands do what it says' timeout 300 sh tests/readme.sh
}

whole_checks() {
    check 'build: release' build tests build/tests all
    echo 10 >"$work/nice"
    beside computing_checks
    suites
    installed_checks
    echo 0 >"$work/nice"
    wait
    # The next tests compare rates, so nothing else runs beside them.
    needs 'build: release'
    check 'soak: a minute of load through every fault' timeout 300 sh tests/faults/soak.sh --seconds 60
    check 'differential: hostile heads beside nginx, lighttpd and llhttp' timeout 300 sh tests/differential/run.sh
    check 'clients: resumes, a browser, slow attacks, sslscan' timeout 600 sh tests/clients/run.sh
    # These do not.
    beside interface_checks
    check 'versions: a rolling upgrade of three nodes under load' timeout 300 sh tests/versions/rolling.sh
    check 'shop: the demo page plays, downloads and shows the balance fall' timeout 300 sh tests/shop.sh
    check 'runbooks: the commands of storage/ledger/README.md do what it says' timeout 300 sh tests/runbooks.sh
    # qemu keeps one core busy for a minute. It needs packages of amd64.
    if [ "$(dpkg --print-architecture)" = amd64 ]; then
        check 'kTLS: the kernel encrypts, in a machine of qemu' timeout 600 sh tests/ktls/run.sh
    else
        skip 'kTLS: Debian has the kernel that it boots for amd64 alone'
    fi
    wait
}

checks() {
    if [ "$quick" = yes ]; then quick_checks; else whole_checks; fi
}

checks
planning=no
[ -s "$plan" ] || { echo "run.sh: no check's name contains '$only'; --list names them all" >&2; exit 64; }
if [ "$list" = yes ]; then
    awk 'NF > 0 && !seen[$0]++' "$plan"
    exit 0
fi
if [ "$quick" = yes ]; then sh docker/ready.sh quick || exit; else sh docker/ready.sh tests || exit; fi
checks

took=$(($(date +%s) - begun))
echo "took $((took / 60)) min $((took % 60)) s"
awk '{ passed += $1; failed += $2 } END { print passed " passed, " failed + 0 " failed"; exit failed > 0 }' "$results"
