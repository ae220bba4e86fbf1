#!/bin/sh
# run-binaries.sh FOLDER ... -- run every test binary below the folders; name those that fail.
# Prints what a failed one printed, and ends with a line "N passed, M failed" of binaries.
passed=0 failed=0
log=$(mktemp)
for test in $(find "$@" -type f -perm -u+x | sort); do
    if "$test" > "$log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $test"
        tail -n 60 "$log"
    fi
done
rm -f "$log"
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed != 0 ]
