#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The model of ownership, fence and segment change, searched whole by spin: what must hold holds, and each planted
# fault makes it fail. Prints states and verdict of each; a failure comes with its trail.
# Must not touch: anything outside its own temporary directory.
#
# usage: tests/model/model.sh [quick]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
for tool in spin gcc; do
        command -v "$tool" >/dev/null 2>&1 || {
                echo "$tool is not installed: packaging/install-deps.sh test"
                exit 1
        }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/baton-model.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here"/*.pml "$here"/trail.awk "$work"
cd "$work"
failed=0
optimize=1
[ "${1:-}" != quick ] || optimize=0

# Every C function and crash point that the model names is in the code, so that the model cannot rot unseen. Names of
# its own begin with kernel_ or stand in the list.
own='check_|find_gone|forget|look_at_a|look_forgets|look_counts|look_marks|thread_ends|process_ends|mover|watcher|worker|'
own="$own"'supervisor|server|takeover$|rest|commit|choose_live|mover_leaves|pool_announce_to|set_|init|LOCK|life_owns_no_slot|slot_apply_epoch|slot_apply_owner|is_live$|exit_robust_list|pthread_create'
names_are_real() {
        cat ./*.pml | grep -oE '\b[a-z]+(_[a-z]+)+\(' | sort -u | tr -d '(' |
                grep -vE "^(kernel_.*|$own)" | while read -r name; do
                grep -rqE "^[a-z_].*[ *]$name\(" "$root/shm" "$root/worker" "$root/supervisor" "$root/base" ||
                        echo "the model names $name(), which the code does not have (any more)"
        done
        grep -ohE '\bK[0-9]+\b' slot.pml look.pml life.pml mover.pml | sort -u | while read -r point; do
                grep -rq "CRASH_POINT(\"shm.$point\")" "$root/shm" || echo "the model names shm.$point, which is not in the code"
        done
        grep -rohE 'CRASH_POINT\("shm\.K[0-9]+"\)' "$root/shm" | grep -oE 'K[0-9]+' | sort -u | while read -r point; do
                grep -qwE "$point" slot.pml look.pml life.pml mover.pml ||
                        echo "shm.$point is in the code, and the model does not know it"
        done
}
names_are_real >unreal
[ ! -s unreal ] || { cat unreal; exit 1; }

# search holds|fails MODEL WHAT DEFINES…
search() {
        expected=$1 model=$2 what=$3
        shift 3
        rm -f pan.* ./*.trail
        spin "$@" -a "$model.pml" >log 2>&1 || { cat log; exit 1; }
        gcc -O"$optimize" -w -DCOLLAPSE -DSAFETY -DVECTORSZ=2048 -DMEMLIM=3500 -o pan pan.c
        ./pan -E -m100000 >log 2>&1 || true
        states=$(awk '/states, stored/ { print $1 }' log)
        verdict=unfinished
        ! grep -q 'errors: 0' log || verdict=holds
        ! grep -q 'assertion violated' log || verdict=fails
        ! grep -qE 'max search depth|memory limit' log || verdict=unfinished
        printf '  %-9s %-42s %9s states  %s\n' "$model" "$what" "$states" "$verdict"
        [ "$verdict" = "$expected" ] && return
        failed=1
        echo "  expected: $expected ($*)"
        [ "$verdict" = fails ] || { tail -20 log; return; }
        spin -t -p "$@" "$model.pml" >trail 2>&1 || true
        awk -v numbered="$([ "$model" = takeover ] && echo 1)" -f trail.awk ./*.pml trail
}
holds() { search holds "$@"; }
fails() { search fails "$@"; }

holds takeover 'two workers, two deaths' -DPROCESSES=2
holds takeover 'a joiner on a used entry, one death' -DDEATHS=1 -DWITH_SWEEP
fails takeover 'time-out instead of proof of death' -DINITIAL=3 -DENTRIES=3 -DDEATHS=1 -DFAULT_TIME_OUT
fails takeover 'EOWNERDEAD is news of one worker only' -DINITIAL=3 -DENTRIES=3 -DFAULT_NEWS_OF_ONE -DFAULT_NO_PIDFD
fails takeover 'the epoch is not raised' -DPROCESSES=2 -DDEATHS=1 -DFAULT_EPOCH_KEPT
holds fence 'SQLite, two owners' -DOWNERS=2
holds fence 'a server, two owners' -DOWNERS=2 -DSERVER
fails fence 'checkpoint read before the epoch is raised' -DOWNERS=2 -DFAULT_READ_BEFORE_FENCE
fails segment 'a new segment without the exclusive lock' -DFAULT_NO_EXCLUSIVE_LOCK
[ "${1:-}" != quick ] || exit $failed

holds takeover 'a joiner on a used entry, two deaths' -DWITH_SWEEP
holds takeover 'three workers, two deaths' -DINITIAL=3 -DENTRIES=3
holds takeover 'a robust list is lost' -DINITIAL=3 -DENTRIES=3 -DDEATHS=1 -DLOSSES=1
holds takeover 'one leaves, one dies' -DPROCESSES=2 -DDEATHS=1 -DLEAVES=1
holds takeover 'assigned anew, one dies' -DPROCESSES=2 -DDEATHS=1 -DASSIGNMENTS=1
fails takeover 'no pidfd: the news is swallowed' -DINITIAL=3 -DENTRIES=3 -DFAULT_NO_PIDFD
fails takeover 'a robust list is lost, no pidfd' -DPROCESSES=2 -DDEATHS=1 -DLOSSES=1 -DFAULT_NO_PIDFD
holds segment 'condemned or outgrown'
fails segment 'mapped before workers.lock is held' -DFAULT_SEGMENT_BEFORE_LOCK
fails segment 'lock given up before the segment is made' -DFAULT_LOCK_DROPPED_EARLY
fails segment 'the number is not durable' -DFAULT_NUMBER_NOT_KEPT
holds fence 'SQLite, three owners'
fails fence 'the epoch is compared at the claim only' -DOWNERS=2 -DFAULT_EPOCH_CHECKED_AT_CLAIM_ONLY
fails fence 'COMMIT sent before the answer is read' -DOWNERS=2 -DSERVER -DFAULT_COMMIT_NOT_WAITED_FOR
fails fence 'the fence changes nothing' -DOWNERS=2 -DFAULT_FENCE_CHANGES_NOTHING
fails fence 'the journal before the commit' -DOWNERS=2 -DFAULT_JOURNAL_FIRST
fails fence 'the epoch is not raised' -DOWNERS=2 -DFAULT_EPOCH_KEPT
exit $failed
