#!/bin/sh
# threads.sh -- end-to-end tests of the gateway's loops (far.c, audits, reads, several gateways) on the build under TSan; a report of
# any process is a failure. The program is slow there, so tests that count seconds are not among them.
# Wants `make SANITIZE=thread all tools`.
set -u
cd "$(dirname "$0")/.."
reports=$(mktemp -d)
TSAN_OPTIONS="log_path=$reports/report halt_on_error=0" BUILD=$PWD/build/san-thread DRAWBRIDGE=$PWD/build/san-thread/drawbridge E2E_JOBS=1 \
    /usr/bin/python3 tests/e2e/run.py test_gateway_lanes test_gateway_reads test_gateway_audit test_gateway_witness test_gateway_admin \
    test_gateway_basic test_gateway_life test_gateway_chaos test_lanes_tls test_lanes_handover.py test_lanes_bridge test_lanes_cluster.py \
    test_lanes_baseline
code=$?
for report in "$reports"/*; do
    [ -f "$report" ] || continue
    code=1
    echo "---- $report"
    head -n 60 "$report"
done
rm -rf "$reports"
exit "$code"
