#!/bin/sh
# long.sh -- what `make test-long` runs beyond `make test`: the end-to-end tests on the sanitizer build,
# a kill of each role in each step of a barrier, the simulations with many seeds, and the fuzzers for a while.
set -u
cd "$(dirname "$0")/.."
failed=0
make -s -j"$(nproc)" asan || exit 1
DRAWBRIDGE_PROGRAM=$PWD/build/san-address/drawbridge ASAN_OPTIONS=detect_leaks=0 /usr/bin/python3 tests/e2e/run.py || failed=1
/usr/bin/python3 tests/e2e/test_bridge_steps.py --long || failed=1
for round in $(seq 1 "${SIM_ROUNDS:-30}"); do
    SEED=$round sh tests/run-binaries.sh build/san-address/tests/sim || { echo "SEED=$round"; failed=1; }
done
build/san-address/tests/sim/sim_lane 10000 || failed=1
SECONDS_EACH=${FUZZ_SECONDS:-60} sh tests/fuzz/fuzz.sh || failed=1
exit $failed
