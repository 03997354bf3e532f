#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs unit tests under valgrind's memcheck: reads of what was never written, accesses out of bounds, memory that
# nobody knows any more. Prints what was found; a test that fails under it is a finding, too. Nothing is suppressed.
# Must not touch: anything outside the tests' own temporary directories.
#
# usage: BATON_BIN=DIRECTORY tests/sanitize/valgrind.sh PROGRAM…
set -u

logs=$(mktemp -d "${TMPDIR:-/tmp}/baton-valgrind.XXXXXX") || exit 1
trap 'rm -rf "$logs"' EXIT
trap 'exit 130' INT TERM
chmod 1777 "$logs" # tests run programs as other users, too
export CRITERION_VERBOSITY_LEVEL=1

# What valgrind cannot run, and why: a program, or some tests of one. Valgrind 3.19 (Debian 12) does not know
# pidfd_open() and futex_waitv(); what has another way without them is run, and then takes that way.
left_out() {
        case $1 in
        test_supervisor_*) echo "* starts or adopts workers, by pidfd_open()" ;;
        test_fleet) echo "* watches its processes by pidfd_open()" ;;
        test_tracer* | test_power_recorder | test_crash_trials) echo "* is a tracer: valgrind's own calls are traced, too" ;;
        test_worker_signals) echo "* faults of its own: valgrind takes the signal first, and forges who sent it" ;;
        test_worker_keeper) echo "* a process that shares its maker's memory: valgrind has no clone() of that kind" ;;
        test_worker_control) echo "control/!(P1_a_supervisor_that_*) pidfd_open()" ;;
        test_shm_takeover) echo "shm_takeover/!(s3_a_process_that_is_gone_*) pidfd_open()" ;;
        test_shm_turn) echo "shm_turn/!(alone_it_makes_*) a seccomp filter, which kills at calls that valgrind makes" ;;
        test_worker_landlock) echo "* Landlock: valgrind does not know its calls" ;;
        test_worker_confine) echo "* a seccomp filter kills at calls that valgrind makes" ;;
        test_shm_threads | test_torture_schedule) echo "* many processors at once, or nothing is seen: valgrind runs one thread at a time" ;;
        test_cli_view) echo "cli_view/!(a_reading_*|a_session_that_holds_*|the_supervisor_is_*|what_needs_*) pidfd_open()" ;;
        test_shm_overwritten) echo "shm_overwritten/!(P1_a_worker_whose_record_*) pidfd_open()" ;;
        test_shm_identity) echo "shm_identity/!(s6_another_process_*) pidfd_open()" ;;
        test_base_process_end) echo "* how a process has ended is told by its pidfd" ;;
        test_cli_doctor) echo "cli_doctor/!(L5_a_supervisor_that_waits_*) pidfd_open()" ;;
        test_base_process) echo "process/!(*_S3|*_S6) pidfd_open()" ;;
        esac
}

failed=
programs=0
for program in "$@"; do
        name=$(basename "$program")
        reason=$(left_out "$name")
        case $reason in
        '* '*)
                printf '  -     %-32s left out: %s\n' "$name" "${reason#\* }"
                continue
                ;;
        esac
        filter=
        [ -z "$reason" ] || filter=${reason%% *}
        rm -f "$logs"/*
        timeout --kill-after=5 "${TEST_TIMEOUT_S:-900}" valgrind -q --vgdb=no --trace-children=yes \
                '--trace-children-skip=*/bin/*' --fair-sched=try --leak-check=full \
                --show-leak-kinds=definite --errors-for-leak-kinds=definite --log-file="$logs/%p.log" \
                "$program" ${filter:+--filter "$filter"} >"$logs/output" 2>&1 </dev/null
        status=$?
        programs=$((programs + 1))
        cat "$logs"/*.log >"$logs/all"
        if [ "$status" -eq 0 ] && ! grep -q '^==' "$logs/all"; then
                printf '  ok    %-32s %s\n' "$name" "${reason:+but for ${reason#* }}"
                continue
        fi
        failed="$failed $name"
        grep '^==' "$logs/all"
        grep -v '^\[RUN \]\|^\[PASS\]' "$logs/output"
        printf '  FAIL  %-32s (exit %d)\n' "$name" "$status"
done
[ -z "$failed" ] || {
        echo "failed:$failed"
        exit 1
}
echo "$programs programs, nothing found"
