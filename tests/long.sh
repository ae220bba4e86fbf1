#!/bin/sh
# long.sh -- what `make test-long` runs beyond `make test`: the end-to-end tests on the sanitizer build,
# a kill of each role in each step of a barrier, the simulations with many seeds, and the fuzzers for a while.
# Ends with "N passed, M failed": the sum of all parts. A part that prints no such line counts as one.
set -u
cd "$(dirname "$0")/.."
passed=0 failed=0
out=$(mktemp)
trap 'rm -f "$out" "$out.code"' EXIT

# part NAME COMMAND...
part() {
    name=$1; shift
    echo "-- $name"
    { "$@" 2>&1; echo $? > "$out.code"; } | tee "$out"
    code=$(cat "$out.code")
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$out" | tail -n 1)
    if [ -n "$line" ]; then
        passed=$((passed + $(echo "$line" | cut -d' ' -f1)))
        more=$(echo "$line" | cut -d' ' -f3)
        [ "$code" != 0 ] && [ "$more" = 0 ] && more=1
        failed=$((failed + more))
    elif [ "$code" = 0 ]; then passed=$((passed + 1))
    else failed=$((failed + 1))
    fi
    [ "$code" = 0 ] || echo "FAILED: $name"
}

# Every test takes its programs from $BUILD, $DRAWBRIDGE or $SERVER. The sanitizers' programs are
# slow: one after the other. What was freed is kept in quarantine, and tests of how much memory something takes see it.
sanitized() {
    BUILD=$PWD/build/san-address DRAWBRIDGE=$PWD/build/san-address/drawbridge SERVER=$PWD/build/san-address/drawbridge \
        ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=8 E2E_JOBS=1 RANDOM_SEEDS=1 /usr/bin/python3 tests/e2e/run.py "$@"
}

part "build" make -s -j"$(nproc)" all tools
part "build with sanitizers" make -s -j"$(nproc)" SANITIZE=address,undefined all tools build-sim
part "end to end, under ASan and UBSan" sanitized
part "every command, a million times" /usr/bin/python3 tests/e2e/test_every_command.py 1000000
part "payloads of RESTORE, 400000" /usr/bin/python3 tests/e2e/test_restore_differential.py 400000
part "the simulated Redis, a million commands" /usr/bin/python3 tests/e2e/test_mini_redis.py 1000000
part "power cuts, 400 moments of each kind" env POINTS=400 /usr/bin/python3 tests/e2e/test_power_loss.py
part "files cut at every byte, ten times as much" /usr/bin/python3 tests/e2e/test_power_every_byte.py --long
part "lanes under a load of everything" /usr/bin/python3 tests/e2e/test_lanes_load.py --long
part "lanes of two gateways, all troubles, keys of 5 million elements" /usr/bin/python3 tests/e2e/test_lanes_everything.py --long
part "lanes, a kill in each step of a barrier" /usr/bin/python3 tests/e2e/test_lanes_kill.py --long
part "lanes, a gateway that is released late" /usr/bin/python3 tests/e2e/test_lanes_late.py --long
part "unit tests and snapshots, under TSan" make -s -j"$(nproc)" tsan
part "the gateway's loops, under TSan" sh tests/threads.sh
# Where there are servers of other versions: PEERS=/folder (tests/e2e/peers.py).
part "servers of other versions" env PEERS="${PEERS:-}" /usr/bin/python3 tests/e2e/test_other_versions.py --long
part "a kill in each step of a barrier" /usr/bin/python3 tests/e2e/test_bridge_steps.py --long
part "another capture, each way" /usr/bin/python3 tests/e2e/test_capture.py --long
part "a kill in each step of a change of capture" /usr/bin/python3 tests/e2e/test_capture_steps.py --long
for round in $(seq 1 "${SIM_ROUNDS:-30}"); do
    part "simulations, seed $round" env SEED="$round" sh tests/run-binaries.sh build/san-address/tests/sim
done
part "lanes, 10000 seeds" build/san-address/tests/sim/sim_lane 10000
part "owners, 10000 seeds" build/san-address/tests/sim/sim_owners 10000
part "changes of capture, 10000 seeds" build/san-address/tests/sim/sim_capture 10000
part "fuzzers" env SECONDS_EACH="${FUZZ_SECONDS:-60}" sh tests/fuzz/fuzz.sh
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
