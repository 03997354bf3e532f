#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs test programs one after another and closes with "N passed, N failed" over all their cases.
# A Criterion program counts its cases; a test script, or a program that dies before it could count,
# counts as one. Prints a program's own output only when something failed in it.
# Must not touch: anything outside the tests' own temporary directories.
#
# usage: BATON_BIN=DIRECTORY tests/run.sh PROGRAM…     (TEST_TIMEOUT_S bounds each program)
set -u

output=$(mktemp "${TMPDIR:-/tmp}/baton-test.XXXXXX") || exit 1
reports=$(mktemp -d "${TMPDIR:-/tmp}/baton-reports.XXXXXX") || exit 1
trap 'rm -rf "$output" "$reports"' EXIT
trap 'exit 130' INT TERM
chmod 1777 "$reports" # tests run programs as other users, too

# Sanitizers: a report is a file, so that one of a process whose output nobody reads, or that was killed
# later, fails its test too. Running out of memory stays an error that a test can see.
options() {
        echo "allocator_may_return_null=1:print_stacktrace=1${1:+:$1}:log_path=$reports/report"
}
ASAN_OPTIONS=$(options "${ASAN_OPTIONS:-}")
LSAN_OPTIONS=$(options "${LSAN_OPTIONS:-}")
UBSAN_OPTIONS=$(options "${UBSAN_OPTIONS:-}")
TSAN_OPTIONS=$(options "${TSAN_OPTIONS:-}")
export ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS

# Criterion says why a test was skipped only where it says what it runs.
export CRITERION_VERBOSITY_LEVEL=1

passed_total=0
failed_total=0
failed_names=
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
        reported=
        for report in "$reports"/*; do
                [ -e "$report" ] || continue
                # A sanitizer that has no memory to give says so, too: that is the test's own doing.
                ! grep -v 'failed to allocate' "$report" >>"$output" || reported=yes
                rm -f "$report"
        done
        # gcc's undefined-behaviour runtime, beside that for addresses, writes to stderr whatever it is told.
        ! grep -q ': runtime error: ' "$output" || reported=yes
        [ -z "$reported" ] || [ "$failed" -gt 0 ] || failed=1
        passed_total=$((passed_total + passed))
        failed_total=$((failed_total + failed))
        if [ "$failed" -eq 0 ]; then
                printf '  ok    %-32s %4d passed\n' "$(basename "$program")" "$passed"
                grep '^\[SKIP\]' "$output" | sort -u
        else
                failed_names="$failed_names $(basename "$program")"
                grep -v '^\[RUN \]\|^\[PASS\]' "$output"
                [ -z "$reported" ] || echo "$program: the sanitizer's reports stand above"
                [ "$status" -ne 124 ] || echo "$program: stopped after ${TEST_TIMEOUT_S:-300} s"
                printf '  FAIL  %-32s %4d passed, %d failed (exit %d)\n' "$(basename "$program")" \
                        "$passed" "$failed" "$status"
        fi
done

[ -z "$failed_names" ] || echo "failed:$failed_names"
echo "$passed_total passed, $failed_total failed"
[ "$failed_total" -eq 0 ]
