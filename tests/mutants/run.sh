#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `make mutants`: is the proof strong enough? Each patch beside this script breaks one promise of the product in
# a way that an engineer might; a test must notice. The tree is copied, so nothing of the caller's is touched, and
# what was built is built again only where the fault stands.
#
# A patch begins with lines "Fault:", "Rule:", "Harm:", and one or more "Expect: PROGRAM FILTER", the tests that
# should notice, or "Expect: prove ARGUMENTS…", a run of baton-prove. These run first, on the tree as it is too: a
# test that fails anyway catches nothing. Where none notices, all unit and integration tests run, to the first that
# fails.
#
# usage: tests/mutants/run.sh BUILD [NAME…]     (MAKE: the make to use; TEST_TIMEOUT_S bounds each test)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec </dev/null

build=$1
shift
place=$build/mutants
rm -rf "$place"
mkdir -p "$place/tree"
place=$(cd "$place" && pwd)
tree=$place/tree
output=$place/output
export TMPDIR=$place/tmp BATON_BIN=$tree/build/bin
mkdir -p "$TMPDIR"

# What a test of a broken product left behind: processes of the copied tree, and no others.
kill_leftovers() {
        local exe process
        for exe in /proc/[0-9]*/exe; do
                [[ $(readlink "$exe" 2>/dev/null) == "$tree"/* ]] || continue
                process=${exe#/proc/}
                kill -KILL "${process%/exe}" 2>/dev/null || true
        done
}
# What was killed may take a moment to be gone, and writes until then.
clear_place() {
        kill_leftovers
        rm -rf "$place" 2>/dev/null || {
                sleep 1
                rm -rf "$place"
        }
}
trap clear_place EXIT
trap 'exit 130' INT TERM

# The words of one kind in a patch's head.
field() {
        sed -n "/^--- /q; s/^$2: *//p" "tests/mutants/$1.patch"
}

make_in_tree() {
        "${MAKE:-make}" -C "$tree" BUILD=build "$@" >"$output" 2>&1
}

build_test() {
        case $1 in
        prove) make_in_tree all ;;
        *) make_in_tree all "build/tests/$1" ;;
        esac
}

# One test program, all of it or what the filter names, or baton-prove. Ran, and nothing failed: 0.
run_test() {
        local program=$1 filter=${2:-}
        if [ "$program" = prove ]; then
                # shellcheck disable=SC2086 # words are wanted
                (cd "$tree" && timeout --kill-after=5 "${TEST_TIMEOUT_S:-180}" build/bin/baton-prove $filter \
                        --directory "$TMPDIR") >"$output" 2>&1
                return
        fi
        (cd "$tree" && timeout --kill-after=5 "${TEST_TIMEOUT_S:-180}" "build/tests/$program" \
                ${filter:+--filter "$filter"}) >"$output" 2>&1
}

# What noticed, in the words of the last output; the program where it names no test.
noticed() {
        local name
        if [ "$1" = prove ]; then
                echo "baton-prove ${2%% --points*}"
                return
        fi
        name=$(sed -n 's/^\[[^]]*\(FAIL\|CRASH\)[^]]*\] *\([a-z_A-Z0-9]*\)::\([a-zA-Z_0-9]*\).*/\2\/\3/p' "$output" |
                head -n 1)
        echo "${name:-$1}"
}

# The tests that the patches name pass where nothing is broken, and there are some of each.
check_unbroken() {
        local line program filter
        local -A seen=()
        while read -r program filter; do
                line="$program $filter"
                [ -z "${seen[$line]:-}" ] || continue
                seen[$line]=1
                build_test "$program" || die "cannot build $program"
                run_test "$program" "$filter" || die "$line fails without any fault"
                ! grep -q 'Tested: *\(.\[[0-9;]*m\)*0 ' "$output" || die "$line: there is no such test"
        done < <(for name in "$@"; do field "$name" Expect; done)
        echo "unbroken: all ${#seen[@]} tests and runs that the patches name pass"
}

die() {
        cat "$output"
        echo "mutants: $*"
        exit 1
}

# Prints what noticed; fails where nothing did.
hunt() {
        local name=$1 program filter
        while read -r program filter; do
                build_test "$program" || {
                        echo 'does not build'
                        return 1
                }
                run_test "$program" "$filter" || {
                        noticed "$program" "$filter"
                        return 0
                }
        done < <(field "$name" Expect)
        make_in_tree tests
        for program in "$tree"/build/tests/{unit,integration}/test_*; do
                program=${program#"$tree"/build/tests/}
                run_test "$program" || {
                        echo "$(noticed "$program") (not as expected)"
                        return 0
                }
        done
        echo 'NOTHING'
        return 1
}

patch_tree() {
        patch -d "$tree" -p1 -F0 -f -s "${@:2}" -i "$PWD/tests/mutants/$1.patch" >"$output" 2>&1
}

if [ $# -eq 0 ]; then
        set -- tests/mutants/*.patch
        set -- "${@#tests/mutants/}"
        set -- "${@%.patch}"
fi
cp -a Makefile base include shm worker supervisor prove tests packaging "$tree"
mkdir -p "$tree/build"
for part in "$build"/*; do
        [ "$(basename "$part")" = mutants ] || cp -a "$part" "$tree/build"
done
check_unbroken "$@"

escaped=0
for name in "$@"; do
        start=$SECONDS
        if ! patch_tree "$name"; then
                by='does not apply'
                escaped=$((escaped + 1))
        else
                by=$(hunt "$name") || escaped=$((escaped + 1))
                patch_tree "$name" -R || die "$name cannot be taken back"
        fi
        kill_leftovers
        printf '  %-28s %-4s %-68s %4d s\n' "$name" "$(field "$name" Rule)" "$by" $((SECONDS - start))
done
echo "$# faults, $escaped of them unnoticed; $SECONDS s"
[ "$escaped" -eq 0 ]
