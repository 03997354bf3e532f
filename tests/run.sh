#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs test programs, TEST_JOBS at a time (one for each processor), and closes with "N passed, N failed" over all their
# cases. A Criterion program counts its cases; a test script, or a program that dies before it could count, counts as
# one. Prints a program's own output only when something failed in it, and in one piece. A line "[SUMMARY] …" or "[SKIP] …"
# of a script is told once more at the end, as what the whole did not see must not be read over.
# Must not touch: anything outside the tests' own temporary directories.
#
# usage: BATON_BIN=DIRECTORY tests/run.sh PROGRAM…     (TEST_TIMEOUT_S bounds each program)
set -u

# Prints "passed failed" from Criterion's last line, or nothing where there is none.
counts() {
        sed -n 's/.*Synthesis: Tested: *\([0-9]*\) *| Passing: *\([0-9]*\) .*/\1 \2/p' "$output" |
                awk 'END { if (NR) print $2, $1 - $2 }'
}

# Sanitizers: a report is a file, so that one of a process whose output nobody reads, or that was killed
# later, fails its test too. Running out of memory stays an error that a test can see.
options() {
        echo "allocator_may_return_null=1:print_stacktrace=1${2:+:$2}:log_path=$1/report"
}
sanitizers_report_to() {
        ASAN_OPTIONS=$(options "$1" "${ASAN_OPTIONS:-}")
        LSAN_OPTIONS=$(options "$1" "${LSAN_OPTIONS:-}")
        UBSAN_OPTIONS=$(options "$1" "${UBSAN_OPTIONS:-}")
        TSAN_OPTIONS=$(options "$1" "${TSAN_OPTIONS:-}")
        export ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
}

# Criterion says why a test was skipped only where it says what it runs.
export CRITERION_VERBOSITY_LEVEL=1

tell() {
        if [ "$failed" -eq 0 ]; then
                printf '  ok    %-32s %4d passed\n' "$(basename "$program")" "$passed"
                grep '^\[SKIP\]' "$output" | sort -u
                case $program in
                *.sh) sed -n 's/^\[SUMMARY\] //p; s/^\[SKIP\] /not tested: /p' "$output" >>"$work/summary" ;;
                esac
        else
                grep -v '^\[RUN \]\|^\[PASS\]' "$output"
                [ -z "$reported" ] || echo "$program: the sanitizer's reports stand above"
                [ "$status" -ne 124 ] || echo "$program: stopped after ${TEST_TIMEOUT_S:-300} s"
                printf '  FAIL  %-32s %4d passed, %d failed (exit %d)\n' "$(basename "$program")" \
                        "$passed" "$failed" "$status"
        fi
}

# run_one DIRECTORY PROGRAM: adds a line "passed failed name" to DIRECTORY/counted.
run_one() {
        work=$1 program=$2
        output=$(mktemp "$work/output.XXXXXX") && reports=$(mktemp -d "$work/reports.XXXXXX") || exit 1
        chmod 1777 "$reports" # tests run programs as other users, too
        sanitizers_report_to "$reports"
        case $program in
        *power*) ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 ;; # which does not work in who is traced
        esac
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
        done
        # gcc's undefined-behaviour runtime, beside that for addresses, writes to stderr whatever it is told.
        ! grep -q ': runtime error: ' "$output" || reported=yes
        [ -z "$reported" ] || [ "$failed" -gt 0 ] || failed=1
        tell >"$output.told"
        exec 9>>"$work/counted"
        flock 9
        echo "$passed $failed $(basename "$program")" >&9
        cat "$output.told"
}

if [ "${1:-}" = --one ]; then
        run_one "$2" "$3"
        exit 0
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/baton-test.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
chmod 711 "$work"
printf '%s\n' "$@" | xargs -P "${TEST_JOBS:-$(nproc)}" -I '{}' "$0" --one "$work" '{}'
[ ! -e "$work/summary" ] || cat "$work/summary"
awk -v wanted=$# '
        { passed += $1; failed += $2 }
        $2 { names = names " " $3 }
        END {
                if (names) print "failed:" names
                if (NR != wanted) print "of " wanted " programs " NR " were run"
                printf "%d passed, %d failed\n", passed, failed
                exit failed > 0 || NR != wanted
        }' "$work/counted"
