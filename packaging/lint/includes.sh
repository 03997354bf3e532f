#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Includes run one way: include/base <- shm <- worker, include/base <- shm <- supervisor. Worker and
# supervisor never include each other; journal, source and destination, which the command line links
# too, know nothing of the segment (whoever uses them includes include/baton/); the checker shares no code with what it checks.
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh

c_files '*.[ch]' | xargs grep -n '^ *# *include *"' /dev/null |
        sed 's/^\([^:]*\):\([0-9]*\): *# *include *"\([^"]*\)".*/\1 \2 \3/' |
        awk '
        # The longest prefix counts. "may" lists what a directory may include besides itself.
        BEGIN {
                may["include/"] = "base/"
                may["base/"] = "include/"
                may["shm/"] = "base/ include/"
                may["worker/"] = "base/ include/ shm/"
                may["worker/journal/"] = "base/ include/"
                may["worker/source/"] = "base/ include/"
                may["worker/destination/"] = "base/ include/ worker/source/" # the fused path reads
                may["supervisor/"] = "base/ include/ shm/"
                may["supervisor/cli/"] = "base/ include/ shm/ supervisor/"
                may["prove/"] = "base/ include/ shm/"
                may["prove/checker/"] = ""
                may["tests/"] = "base/ include/ shm/ worker/ supervisor/ prove/"
        }
        function home(path, directory, longest) {
                longest = ""
                for (directory in may)
                        if (index(path, directory) == 1 && length(directory) > length(longest))
                                longest = directory
                return longest
        }
        {
                count++
                from = home($1)
                to = home($3)
                if (to == "") {
                        printf "%s:%s: \"%s\" does not begin at the root of the repository\n", $1, $2, $3
                        bad = 1
                        next
                }
                if (from == to)
                        next
                ok = 0
                n = split(may[from], allowed, " ")
                for (i = 1; i <= n; i++)
                        if (index(to, allowed[i]) == 1)
                                ok = 1
                if (!ok) {
                        printf "%s:%s: %s may not include \"%s\"\n", $1, $2, from, $3
                        bad = 1
                }
        }
        END {
                if (count == 0) {
                        print "no #include was found: this check sees nothing"
                        bad = 1
                }
                exit bad
        }'
