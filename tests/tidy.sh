#!/bin/sh
# tidy.sh NAME.ok ... -- what clang-tidy found: `make tidy` leaves NAME.ok where that was nothing, and NAME.txt with
# its words elsewhere. Ends with a line "N passed, M failed" of source files.
set -u
passed=0 failed=0
for ok in "$@"; do
    if [ -e "$ok" ]; then
        passed=$((passed + 1))
        continue
    fi
    failed=$((failed + 1))
    echo "FAILED: $ok"
    cat "${ok%.ok}.txt" 2> /dev/null || echo "not looked at"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
