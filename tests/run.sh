#!/bin/sh
# run.sh [--long] -- the whole test: builds, checks, runs, and ends with "N passed, M failed".
set -u
cd "$(dirname "$0")/.."
sh deploy/deps.sh || exit 1
jobs=$(nproc)
passed=0 failed=0
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT

# step NAME COMMAND... -- run it; its last line "N passed, M failed" counts, and its exit code.
step() {
    name=$1; shift
    echo "== $name"
    "$@" 2>&1 | tee "$summary.out"
    code=$(cat "$summary" 2>/dev/null || echo 1)
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$summary.out" | tail -n 1)
    if [ -n "$line" ]; then
        passed=$((passed + $(echo "$line" | cut -d' ' -f1)))
        bad=$(echo "$line" | cut -d' ' -f3)
        [ "$code" = 0 ] || [ "$bad" != 0 ] || { bad=1; echo "FAILED: $name ended with $code"; }
        failed=$((failed + bad))
    elif [ "$code" = 0 ]; then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "FAILED: $name"
    fi
    rm -f "$summary.out"
}
coded() { "$@"; echo $? > "$summary"; }

step "build (gcc)" coded make -s -j"$jobs" all tools
step "layers" coded sh tests/layers.sh
step "unit tests, under ASan and UBSan" coded make -s -j"$jobs" unit
step "simulations, under ASan and UBSan" coded make -s -j"$jobs" sim
step "end to end" coded make -s e2e
if [ "${1:-}" = --long ]; then
    [ -x tests/long.sh ] && step "long" coded sh tests/long.sh
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
