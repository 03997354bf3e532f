#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The model of ownership, fence and segment change, searched whole by spin: what must hold holds, and each planted
# fault makes it fail (`searches` lists them). Prints states, processor time, memory and verdict of
# each, as they end; a failure
# comes with its trail. Two searches at a time, below 6 GiB together. `quick` runs the small ones, one by one.
# Must not touch: anything outside its own temporary directory.
#
# usage: tests/model/model.sh [quick]
#        tests/model/model.sh one DIRECTORY LINE       (by itself: the search of that line, in a directory made for it)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..

# Every C function and crash point that the model names is in the code, so that the model cannot rot unseen. Names of
# its own begin with kernel_ or stand in the list.
own='hears_by_pidfd|check_|find_gone|forget|look_at_a|look_forgets|look_counts|look_marks|thread_ends|process_ends|mover|watcher|worker|'
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

# Every planted fault is searched for: one that nothing catches proves nothing.
faults_are_searched() {
        grep -ohE '\bFAULT_[A-Z_]+' ./*.pml | sort -u | while read -r fault; do
                grep -qE "^[a-z]+ fails .*-D$fault\b" searches || echo "no search shows that $fault fails"
        done
}

# A line of `searches`, in the variables of its columns.
line_read() {
        sed -n "$1p" "$here/searches" >line
        read -r _ expected model how rest <line
        what=${rest%%:*} defines=${rest#*:}
}

search_build() {
        case $how in
        states) kind='-DSAFETY' flags='' ;;
        cycles) kind='-DNP' flags='-l' ;;
        fair) kind='-DNFAIR=3' flags='-a -f' defines="$defines -DWITH_FORMULA" ;;
        *) echo "searches, line $1: what is $how?" && return 1 ;;
        esac
        # shellcheck disable=SC2086 # words, each of them
        spin $defines -a "$model.pml" >log 2>&1 &&
                # To optimize takes longer than it saves.
                gcc -O0 -w -DCOLLAPSE "$kind" -DVECTORSZ=2048 -DMEMLIM=2900 -o pan pan.c >>log 2>&1
}

search_verdict() {
        verdict=unfinished
        ! grep -q 'errors: 0' log || verdict=holds
        ! grep -qE 'assertion violated|pan:[0-9]+: (non-progress|acceptance) cycle' log || verdict=fails
        ! grep -qE 'max search depth|memory limit' log || verdict=unfinished
}

# The search of one line, in its own directory: 0 where it comes out as expected.
search_run() {
        line_read "$1"
        search_build "$1" || { cat log && return 1; }
        # shellcheck disable=SC2086
        ./pan $flags -E -m100000 >log 2>&1 || true
        search_verdict
        times >spent # of the processor, by what was compiled and run here
        printf '  %-8s %-6s %-55s %9s states %6.1f s %5.0f MB  %s\n' "$model" "$how" "$what" \
                "$(awk '/states, stored/ { print $1 }' log)" \
                "$(awk 'NR == 2 { split($0, t, /[ms ]+/); print 60 * (t[1] + t[3]) + t[2] + t[4] }' spent)" \
                "$(awk '/total actual memory/ { print $1 }' log)" "$verdict"
        [ "$verdict" != "$expected" ] || return 0
        echo "  expected: $expected ($how:$defines)"
        [ "$verdict" = fails ] || { tail -20 log && return 1; }
        # shellcheck disable=SC2086
        spin -t -p $defines "$model.pml" >trail 2>&1 || true
        awk -v numbered="$([ "$model" = takeover ] && echo 1)" -f trail.awk ./*.pml trail
        return 1
}

if [ "${1:-}" = one ]; then
        mkdir "$2/$3"
        cp "$here"/*.pml "$here"/trail.awk "$2/$3"
        cd "$2/$3"
        search_run "$3" >out 2>&1 && r=0 || r=1
        cat out
        cd / && rm -rf "${2:?}/$3"
        exit "$r"
fi

for tool in spin gcc; do
        command -v "$tool" >/dev/null 2>&1 || {
                echo "$tool is not installed: packaging/install-deps.sh test"
                exit 1
        }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/baton-model.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$here"
{ names_are_real && faults_are_searched; } >"$work/unreal"
[ ! -s "$work/unreal" ] || { cat "$work/unreal"; exit 1; }

wanted='quick|full' jobs=2
[ "${1:-}" != quick ] || wanted='quick' jobs=1
grep -nE "^($wanted) " searches | cut -d: -f1 | xargs -P "$jobs" -n 1 "$here/model.sh" one "$work"
