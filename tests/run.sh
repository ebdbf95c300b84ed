#!/bin/sh
# Installs what is missing, builds, and runs every test and check of Tollgate.
#
#   tests/run.sh            everything: also ASan + UBSan, TSan, fuzz corpora, static checks, package, image
#   tests/run.sh --quick    release build and its tests only
#
# Ends with one line, "N passed, N failed", and exits 1 where anything failed.
set -u
cd "$(dirname "$0")/.." || exit 70

quick=no
case ${1:-} in
'') ;;
--quick) quick=yes ;;
-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
*) echo "run.sh: unknown option '$1'; see --help" >&2; exit 64 ;;
esac

passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# check NAME COMMAND...: one check, passed or failed as a whole.
check() {
    name=$1
    shift
    started=$(date +%s)
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "PASS  $name ($(($(date +%s) - started)) s)"
    else
        failed=$((failed + 1))
        echo "FAIL  $name ($(($(date +%s) - started)) s)"
        tail -n 60 "$log"
    fi
}

# The integration tests wait for most of their time.
jobs_of() {
    case $1 in *integration*) echo 4 ;; *) echo 2 ;; esac
}

# suite NAME BINARY: a Criterion binary, whose own summary is added to ours. No summary is a failure.
suite() {
    name=$1
    started=$(date +%s)
    timeout 600 "$2" --jobs "$(jobs_of "$2")" >"$log" 2>&1
    summary=$(grep -a '^\[====\] Synthesis:' "$log" | tail -n 1)
    tested=$(echo "$summary" | sed -n 's/.*Tested: \([0-9]*\).*/\1/p')
    good=$(echo "$summary" | sed -n 's/.*Passing: \([0-9]*\).*/\1/p')
    if [ -z "$tested" ] || [ "$tested" -eq 0 ]; then
        failed=$((failed + 1))
        echo "FAIL  $name: ran no test"
        tail -n 60 "$log"
        return
    fi
    passed=$((passed + good))
    failed=$((failed + tested - good))
    echo "$([ "$tested" -eq "$good" ] && echo PASS || echo FAIL)  $name: $good of $tested ($(($(date +%s) - started)) s)"
    [ "$tested" -eq "$good" ] || grep -a -E '^\[(----|FAIL)\]' "$log" | head -n 60
}

# build PRESET DIRECTORY [TARGET]
build() {
    cmake --preset "$1" && ninja -C "$2" "${3:-all}"
}

headers_compile_alone() {
    flags=$(pkg-config --cflags liburing libcrypto libssl libxxhash hiredis jansson yaml-0.1 libsystemd)
    for header in $(find server tokens storage bench -name '*.h'); do
        # shellcheck disable=SC2086 # flags are a list
        gcc -std=gnu11 -D_GNU_SOURCE -I. $flags -fsyntax-only -Wall -Wextra -x c "$header" || return 1
    done
}

dependencies_run_one_way() {
    ! grep -rnE '#include "(server|storage)/' tokens --include='*.[ch]' &&
        ! grep -rnE '#include "(server|tokens)/' storage --include='*.[ch]' &&
        ! grep -rnE '#include "(server|storage)/' bench --include='*.[ch]'
}

# What handles secrets compares bytes in one way only, in the source and in what the compiler made of it.
secrets_compare_in_constant_time() {
    for source in tokens/algorithm.c server/admin_secrets.c; do
        grep -q 'CRYPTO_memcmp(' "$source" || return 1
        ! grep -nE '(^|[^_A-Za-z])(memcmp|bcmp|strcmp|strncmp|strcasecmp|timingsafe_[a-z]+) *\(' "$source" || return 1
        object=$(find "build/tests/${source%/*}" -name "${source##*/}.o")
        nm -u "$object" | grep -q ' CRYPTO_memcmp$' || return 1
        ! nm -u "$object" | grep -E ' (__)?(memcmp|bcmp|str[a-z]*cmp)[a-z_]*$' || return 1
    done
}

shell_parses() {
    for script in docker/*.sh docker/package/p* bench/*.sh tests/*.sh tests/*/*.sh; do sh -n "$script" || return 1; done
}

formatted() {
    find server tokens storage bench tests -name '*.[ch]' | xargs clang-format --dry-run --Werror
}

# instrumented BINARY SYMBOL: a sanitizer that was not built in finds nothing.
instrumented() {
    nm "$1" | grep -q " $2"
}

# Prints what it found alone, without the name of each file that it read.
tidy() {
    found=$(run-clang-tidy -quiet -p build/tests "$PWD/(server|tokens|storage|bench)/" 2>&1) || {
        echo "$found" | grep -E -A 3 'error:|warning:' || echo "$found"
        return 1
    }
}

# The whole program, instrumented, under the tests that drive it from outside (Criterion itself does not run under
# TSan). What TSan finds goes to a file, so that a node that the test kills has told it too.
races() {
    reports=$(mktemp -d)
    for suite in integration faults; do
        TOLLGATE_BINARY=$PWD/build/tsan/tollgate TSAN_OPTIONS=log_path=$reports/tsan \
            timeout 600 "build/tests/${suite}_test" --jobs "$(jobs_of "$suite")" || return 1
    done
    cat "$reports"/* 2>/dev/null
    rmdir "$reports"
}

replay_corpus() {
    for target in head fields jws target mp3 proxy forwarded; do
        "build/fuzz/fuzz_$target" $(find "tests/fuzz/corpus/$target" "tests/fuzz/regressions/$target" -type f) ||
            return 1
    done
}

echo "installing what is missing"
sh docker/deps.sh run build demo bench test clients examples image || exit 69

check 'build: release' build tests build/tests
for name in tokens media ledger server bench integration faults; do
    [ -x "build/tests/${name}_test" ] && suite "release: $name" "build/tests/${name}_test"
done
check 'dependencies run one way' dependencies_run_one_way
check 'shell scripts parse' shell_parses
check 'secrets are compared in constant time' secrets_compare_in_constant_time
check 'clang-format' formatted
check 'English: no phrase that readers had to read twice' sh tests/english.sh
check 'each header compiles alone' headers_compile_alone
if [ "$quick" = no ]; then
    check 'build: ASan and UBSan' build asan build/asan
    check 'ASan is in it' instrumented build/asan/tollgate __asan_init
    for name in tokens media ledger server bench integration faults; do
        suite "asan: $name" "build/asan/${name}_test"
    done
    check 'build: TSan' build tsan build/tsan tollgate
    check 'TSan is in it' instrumented build/tsan/tollgate __tsan_init
    check 'no data race, integration and faults' races
    check 'build: fuzz targets' build fuzz build/fuzz fuzzers
    check 'fuzz corpora and regressions' replay_corpus
    check 'clang-tidy' tidy
    # ctuuninitvar takes an output parameter of another file for a read of it.
    check 'cppcheck' cppcheck --suppress=ctuuninitvar --quiet --error-exitcode=1 --std=c11 -I. -D_GNU_SOURCE --suppress=missingIncludeSystem \
        --suppress=preprocessorErrorDirective --inline-suppr server tokens storage bench
    check 'soak: a minute of load through every fault' timeout 300 sh tests/faults/soak.sh --seconds 60
    check 'differential: hostile heads beside nginx, lighttpd and llhttp' timeout 300 sh tests/differential/run.sh
    check 'clients: resumes, a browser, slow attacks, sslscan' timeout 600 sh tests/clients/run.sh
    check 'examples: links signed in five languages' timeout 600 sh tests/examples.sh
    check 'shop: the demo page plays, downloads and shows the balance fall' timeout 300 sh tests/shop.sh
    # Where the packages are to be had: they are those of amd64.
    if [ "$(dpkg --print-architecture)" = amd64 ] && sh docker/deps.sh ktls; then
        check 'kTLS: the kernel encrypts, in a machine of qemu' timeout 300 sh tests/ktls/run.sh
    else
        echo 'SKIP  kTLS: no qemu or no cloud kernel here'
    fi
    check 'package: installed, used, removed and purged' timeout 900 sh tests/package.sh
    check 'image: built, and a paid download from it' timeout 900 sh tests/image.sh
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
