#!/bin/sh
# Runs what takes longer than the test command may. Each part prints one line with its seconds, kept in build/long.log.
#
#   tests/run.sh --long [PART]...     all parts, or only these
#   tests/run.sh --long --list        the parts, and when each was last run
#
# Exits 1 where a part failed.
set -u
cd "$(dirname "$0")/.." || exit 70
log=build/long.log
mkdir -p build

#   part    what it is, and how long it takes
parts='bare    the demo, run.sh --quick and run.sh in a bare Debian 12 (some 40 minutes)
loaded  run.sh twice beside two endless loops, each within 60 minutes (some 90 minutes)
soak    half an hour of load through every fault (some 31 minutes)
failovers  twenty failovers by Sentinels under load (some 4 minutes)
faults  500 real faults over two nodes, a Redis with replicas and Sentinels (some 35 minutes)
upgrades  ten rolling upgrades of three nodes under load (some 10 minutes)
beat    1,000 links revoked between the grant of their account and their first request (some 5 minutes)
tidy    clang-tidy, whose analyzer follows all states (some 10 minutes)
seeds   100,000 seeds of the simulator, and its store beside Redis with ten new ones (some 40 minutes)'

loops=
end_loops() {
    # shellcheck disable=SC2086 # a list of numbers
    [ -z "$loops" ] || kill $loops
    loops=
}
trap end_loops EXIT
trap 'exit 130' INT TERM

run_part() {
    case $1 in
    bare) sh tests/bare.sh 'sh docker/demo.sh --once' 'sh tests/run.sh --quick' 'sh tests/run.sh' ;;
    loaded)
        for _ in 1 2; do
            sh -c 'while :; do :; done' &
            loops="$loops $!"
        done
        code=0
        for turn in 1 2; do
            echo "beside two endless loops: run $turn of 2"
            timeout -k 10 3600 sh tests/run.sh || { code=1; break; }
        done
        end_loops
        return "$code"
        ;;
    soak) sh tests/faults/soak.sh --minutes 30 ;;
    failovers)
        ninja -C build/tests faults_test || return
        TOLLGATE_FAILOVERS=20 build/tests/faults_test --filter 'sentinel/that_names*'
        ;;
    faults) sh tests/faults/chaos.sh --faults 500 ;;
    upgrades)
        ninja -C build/tests tollgate tollgate-step-1 tollgate-step-2 || return
        sh tests/versions/rolling.sh --long
        ;;
    beat)
        ninja -C build/tests tollgate integration_test || return
        TOLLGATE_REVOCATIONS=1000 build/tests/integration_test --verbose=1 \
            --filter 'credit/does_not_cover_a_link_once_its_revocation_was_heard'
        ;;
    tidy)
        ninja -C build/tests || return
        sh tests/tidy.sh --whole
        ;;
    seeds)
        sh tests/simulation/run --seeds 100000 || return
        ninja -C build/tests simulation_store_test || return
        for _ in 1 2 3 4 5 6 7 8 9 10; do build/tests/simulation_store_test || return; done
        ;;
    esac
}

wanted=
for argument in "$@"; do
    case $argument in
    bare | loaded | soak | failovers | faults | upgrades | beat | tidy | seeds) wanted="$wanted $argument" ;;
    --list)
        echo "$parts" | while read -r part text; do
            echo "$part: $text"
            last=$(grep -s " $part (" "$log" | tail -n 1)
            echo "    last run: ${last:-never in this checkout}"
        done
        exit 0
        ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; echo; echo "$parts"; exit 0 ;;
    *) echo "long.sh: the part '$argument' is unknown; the parts are bare, loaded, soak, failovers, faults, upgrades, beat and seeds" >&2; exit 64 ;;
    esac
done

failed=0
for part in ${wanted:-bare loaded soak failovers faults upgrades beat seeds}; do
    echo "long.sh: $(echo "$parts" | grep "^$part ")"
    started=$(date +%s)
    if run_part "$part"; then result=PASS; else result=FAIL failed=1; fi
    echo "$result  $(date -u +'%Y-%m-%d %H:%M') $(git rev-parse --short HEAD 2>/dev/null || echo '?') $part ($(($(date +%s) - started)) s)" |
        tee -a "$log"
done
exit "$failed"
