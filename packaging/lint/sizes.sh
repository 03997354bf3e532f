#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# No file over 600 lines, no function over 70 (conventions, "Size"). A function that is one table says
# so in the line above it: "lint: table".
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh
need ctags

c_files '*.[ch]' | {
        bad=0
        while read -r file; do
                lines=$(wc -l <"$file")
                [ "$lines" -le 600 ] || {
                        echo "$file: $lines lines; a file has at most 600: split it by what happens"
                        bad=1
                }
        done
        exit $bad
}

c_files '*.c' | ctags -L - --languages=C --kinds-C=f --fields=+ne -f - --sort=no |
        sed -n 's/^\([^\t]*\)\t\([^\t]*\)\t.*\tline:\([0-9]*\).*\tend:\([0-9]*\).*/\1 \2 \3 \4/p' |
        awk '
        { count++ }
        $4 - $3 + 1 > 70 {
                above = ""
                for (i = 1; i < $3 && (getline text < $2) > 0; i++)
                        above = text
                close($2)
                if (above ~ /lint: table/)
                        next
                printf "%s:%d: %s() has %d lines; a function has at most 70\n", $2, $3, $1, $4 - $3 + 1
                bad = 1
        }
        END {
                if (count == 0) {
                        print "ctags found no function: this check sees nothing"
                        bad = 1
                }
                exit bad
        }'
