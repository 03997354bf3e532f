#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs test programs one after another and closes with "N passed, N failed" over all their cases.
# A Criterion program counts its cases; a test script, or a program that dies before it could count,
# counts as one. Prints a program's own output only when something failed in it.
# Must not touch: anything outside the tests' own temporary directories.
#
# usage: BATON_BIN=DIRECTORY tests/run.sh PROGRAM…     (TEST_TIMEOUT_S bounds each program)
set -u

# Under a sanitizer, running out of memory must stay an error that a test can see.
ASAN_OPTIONS="allocator_may_return_null=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export ASAN_OPTIONS

passed_total=0
failed_total=0
failed_names=
output=$(mktemp "${TMPDIR:-/tmp}/baton-test.XXXXXX") || exit 1
trap 'rm -f "$output"' EXIT
trap 'exit 130' INT TERM

# Prints "passed failed" from Criterion's last line, or nothing where there is none.
counts() {
        sed -n 's/.*Synthesis: Tested: *\([0-9]*\) *| Passing: *\([0-9]*\) .*/\1 \2/p' "$output" |
                awk 'END { if (NR) print $2, $1 - $2 }'
}

for program in "$@"; do
        timeout --kill-after=5 "${TEST_TIMEOUT_S:-300}" "$program" >"$output" 2>&1 </dev/null
        status=$?
        found=$(counts)
        passed=${found% *}
        failed=${found#* }
        case $program in
        *.sh)
                passed=$((status == 0))
                failed=$((status != 0))
                ;;
        *)
                # A program that counted nothing tested nothing; one that counted no failure and still
                # failed died after its last case.
                [ -n "$found" ] || passed=0 failed=1
                [ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
                ;;
        esac
        passed_total=$((passed_total + passed))
        failed_total=$((failed_total + failed))
        if [ "$failed" -eq 0 ]; then
                printf '  ok    %-32s %4d passed\n' "$(basename "$program")" "$passed"
        else
                failed_names="$failed_names $(basename "$program")"
                cat "$output"
                [ "$status" -ne 124 ] || echo "$program: stopped after ${TEST_TIMEOUT_S:-300} s"
                printf '  FAIL  %-32s %4d passed, %d failed (exit %d)\n' "$(basename "$program")" \
                        "$passed" "$failed" "$status"
        fi
done

[ -z "$failed_names" ] || echo "failed:$failed_names"
echo "$passed_total passed, $failed_total failed"
[ "$failed_total" -eq 0 ]
