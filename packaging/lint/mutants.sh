#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The planted faults (tests/mutants/) do not rot: each still applies to the tree, without fuzz, says what it is,
# names tests that are there, and stands in the table of the README there. `make mutants` runs them.
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh
need patch
bad=0

complain() {
        echo "tests/mutants/$1.patch: $2"
        bad=1
}

# True if the program has a test whose SUITE/NAME fits the filter.
has_test() {
        sed -n 's/^[A-Za-z]*Test(\([a-z_A-Z0-9]*\), *\([a-zA-Z0-9_]*\).*/\1\/\2/p' "tests/$1.c" | {
                while read -r test; do
                        # shellcheck disable=SC2254 # a pattern is wanted
                        case $test in
                        ${2:-*}) exit 0 ;;
                        esac
                done
                exit 1
        }
}

count=0
for file in tests/mutants/*.patch; do
        [ -f "$file" ] || break
        count=$((count + 1))
        name=$(basename "$file" .patch)
        patch --dry-run -p1 -F0 -f -s -i "$file" || complain "$name" 'it does not apply any more'
        for word in Fault Rule Harm Expect; do
                sed '/^--- /q' "$file" | grep -q "^$word: ." || complain "$name" "its head has no $word"
        done
        grep -q "^| \`$name\` |" tests/mutants/README.md || complain "$name" 'it is not in the table of the README'
        sed -n '/^--- /q; s/^Expect: //p' "$file" | {
                while read -r program filter; do
                        if [ "$program" = prove ]; then
                                grep -q "\"${filter%% *}\"" prove/main.c ||
                                        complain "$name" "baton-prove has no ${filter%% *}"
                                continue
                        fi
                        [ -f "tests/$program.c" ] && has_test "$program" "$filter" ||
                                complain "$name" "$program $filter: there is no such test"
                done
                exit $bad
        } || bad=1
done
[ "$count" -gt 0 ] || {
        echo "no planted fault was found: this check sees nothing"
        bad=1
}
# shellcheck disable=SC2016 # the quotes of Markdown
sed -n 's/^| `\([a-z0-9-]*\)` |.*/\1/p' tests/mutants/README.md | {
        while read -r name; do
                [ -f "tests/mutants/$name.patch" ] || complain "$name" 'the README has it, and there is no such file'
        done
        exit $bad
}
