#!/bin/sh
# fuzz.sh [SECONDS] [NAME ...] -- run every tests/fuzz/fuzz_NAME.c for SECONDS ($SECONDS_EACH, or 60) each, with clang's
# libFuzzer, ASan and UBSan. Seeds are in tests/fuzz/corpus/NAME; what is found goes to the build
# folder. KEEP=1: afterwards the inputs that reach something new are merged into the seeds (those of
# up to 4 KB). Exit 0 if nothing broke; a broken input is printed with how to repeat it.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-${SECONDS_EACH:-60}}
[ $# -gt 0 ] && shift
names=${*:-$(ls tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_||; s|\.c$||')}
sh deploy/deps.sh clang
cc=clang
command -v ccache > /dev/null && cc="ccache clang"
root=${BUILD_ROOT:-build}-fuzz
sanitize=fuzzer-no-link,address,undefined
top=$root/san-fuzzer-no-link
make --no-print-directory -s CC="$cc" SANITIZE=$sanitize BUILD_ROOT="$root" "$top/libdrawbridge.a"
libs=$(make -pn CC="$cc" SANITIZE=$sanitize 2> /dev/null | sed -n 's/^LDLIBS := //p' | tail -1)
passed=0 failed=0
for name in $names; do
    work=$top/$name
    mkdir -p "$work" "tests/fuzz/corpus/$name"
    # shellcheck disable=SC2086
    $cc -std=c11 -D_GNU_SOURCE -I. -I/usr/include/lua5.1 -O1 -g -fno-omit-frame-pointer -pthread \
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
        -o "$work.bin" "tests/fuzz/fuzz_$name.c" "$top/libdrawbridge.a" $libs
    echo "fuzz $name for $seconds s"
    if "$work.bin" -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=2048 -timeout=10 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="$work-" "$work" "tests/fuzz/corpus/$name" \
        > "$work.log" 2>&1; then
        passed=$((passed + 1))
        sed -n 's/^stat::number_of_executed_units: */    inputs tried: /p' "$work.log"
        [ "${KEEP:-0}" = 0 ] ||
            "$work.bin" -merge=1 -max_len=4096 "tests/fuzz/corpus/$name" "$work" > /dev/null 2>&1
    else
        failed=$((failed + 1))
        tail -n 60 "$work.log"
        echo "FAILED: $name; repeat with $work.bin FILE for the file named above"
    fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
