#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Numbered promises. Every rule that code, tests or documents cite exists: S1–S12 (ownership), M1–M14
# (moving), P1–P7 (processes). Every crash point in the code stands in a README of its directory or
# above it, and every crash point that such a README lists as AREA.Kn is in the code.
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh
bad=0

# shellcheck disable=SC2046 # names without spaces
grep -nowE '[SMP][0-9]{1,2}' $(c_files '*.[ch]') $(find . -name '*.md' -not -path './build*' -not -path './.git/*') |
        awk -F: '
        BEGIN { most["S"] = 12; most["M"] = 14; most["P"] = 7 }
        {
                number = substr($3, 2) + 0
                if (number < 1 || number > most[substr($3, 1, 1)]) {
                        printf "%s:%s: there is no rule %s\n", $1, $2, $3
                        bad = 1
                }
        }
        END { exit bad || NR == 0 }' || bad=1

# "FILE AREA.Kn" of every crash point in the product.
points=$(c_files '*.c' | grep -Ev '^(tests|prove)/' |
        xargs sed -n 's/.*CRASH_POINT("\([^"]*\)").*/\1/;T;F;p' | paste -d ' ' - -)
[ -n "$points" ] || {
        echo "no crash point was found: this check sees nothing"
        bad=1
}
echo "$points" | {
        while read -r file point; do
                directory=$(dirname "$file")
                while [ ! -f "$directory/README.md" ] && [ "$directory" != . ]; do
                        directory=$(dirname "$directory")
                done
                grep -qw "${point#*.}" "$directory/README.md" || {
                        echo "$file: crash point $point does not stand in $directory/README.md"
                        bad=1
                }
        done
        exit $bad
} || bad=1
duplicates=$(echo "$points" | cut -d ' ' -f 2 | sort | uniq -d)
[ -z "$duplicates" ] || {
        echo "crash points that stand at two places:"
        echo "$duplicates"
        bad=1
}
for point in $(find base shm worker supervisor -name README.md -exec grep -ohwE '[a-z]+\.K[0-9]+' {} + | sort -u); do
        echo "$points" | grep -qw "$point" || {
                echo "crash point $point stands in a README and is nowhere in the code"
                bad=1
        }
done

# What a reader would take for a promise, and is none.
if c_files '*.[ch]' | xargs grep -nwE 'TODO|FIXME|XXX|HACK'; then
        echo "unfinished work, at the lines above"
        bad=1
fi
exit $bad
