#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The table of `make coverage`: lines and branches of shm/ and worker/, each file and in all. Fails where the whole
# is below LINES_WANTED or BRANCHES_WANTED (per cent), or where a program left no counters.
#
# Left out, and nothing else: branches on a line that begins with assert(: the other side is the end of
# the process, and shows a defect of ours (base/macro.h). Their lines are counted.
# Must not touch: anything outside the build directory.
#
# usage: LINES_WANTED=90 BRANCHES_WANTED=80 tests/coverage/report.sh BUILD
set -eu

build=$1
lines_wanted=${LINES_WANTED:-90}
branches_wanted=${BRANCHES_WANTED:-80}

programs=0
for counters in "$build"/counters/*; do
        [ -s "$counters" ] || continue
        program=$(basename "$counters" | tr '!' '/')
        [ -x "$program" ] || continue # of an executable that a test made, and removed
        BATON_COVERAGE_DUMP=1 "$program" || {
                echo "$program cannot write what it counted"
                exit 1
        }
        programs=$((programs + 1))
done
[ "$programs" -gt 0 ] || {
        echo "no program left counters in $build/counters: nothing was measured"
        exit 1
}

# gcovr reads Python's patterns: \s, and no [[:space:]].
count() {
        output=$1
        shift
        gcovr --root . --object-directory "$build/obj" --filter 'shm/' --filter 'worker/' --exclude-throw-branches \
                "$@" --csv --output "$output" "$build/obj"
}
count "$build/coverage.csv" --exclude-branches-by-pattern '^\s*assert\('
count "$build/coverage-whole.csv"

# Lines of assertions and all: how much is left out is seen, and a pattern that leaves out nothing is not believed.
whole=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        { branches += $at["branch_total"]; seen += $at["branch_covered"] } END { print branches, seen }' \
        "$build/coverage-whole.csv")

awk -F, -v lines_wanted="$lines_wanted" -v branches_wanted="$branches_wanted" -v programs="$programs" \
        -v all_branches="${whole% *}" -v all_seen="${whole#* }" '
        function percent(part, whole) {
                return whole ? 100 * part / whole : 100
        }
        function row(name, lines, lines_seen, branches, branches_seen) {
                printf "%-40s %6d %6d %6.1f %%  %6d %6d %6.1f %%\n", name, lines, lines_seen,
                       percent(lines_seen, lines), branches, branches_seen, percent(branches_seen, branches)
        }
        NR == 1 {
                for (i = 1; i <= NF; i++)
                        at[$i] = i
                printf "%-40s %6s %6s %8s  %6s %6s %8s\n", "file", "lines", "run", "", "branch", "taken", ""
                next
        }
        {
                row($at["filename"], $at["line_total"], $at["line_covered"], $at["branch_total"],
                    $at["branch_covered"])
                lines += $at["line_total"]
                lines_seen += $at["line_covered"]
                branches += $at["branch_total"]
                branches_seen += $at["branch_covered"]
        }
        END {
                row("all", lines, lines_seen, branches, branches_seen)
                printf "of %d programs; with the lines of assertions %d of %d branches, %.1f %%\n", programs,
                       all_seen, all_branches, percent(all_seen, all_branches)
                if (branches >= all_branches) {
                        print "no line of an assertion was left out: the pattern does not match"
                        exit 1
                }
                if (lines == 0 || percent(lines_seen, lines) < lines_wanted ||
                    percent(branches_seen, branches) < branches_wanted) {
                        printf "below %s %% of lines or %s %% of branches\n", lines_wanted, branches_wanted
                        exit 1
                }
        }' "$build/coverage.csv"
