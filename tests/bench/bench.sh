#!/bin/sh
# bench.sh [PART ...] -- us and the peers of Debian, in turn, in one run; prints ratios. Parts: gateway server copy files lanes, or pause.
set -eu
cd "$(dirname "$0")/../.."
sh deploy/deps.sh
make -s -j"$(nproc)" all tools
if [ "${1:-}" = pause ]; then
    exec /usr/bin/python3 tests/bench/pause.py
fi
exec /usr/bin/python3 tests/bench/bench.py "$@"
