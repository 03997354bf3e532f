#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-tidy with .clang-tidy over every C file, on all processors. A file whose text, headers and rules are those
# of a run that found nothing is not looked at again: build/lint/ remembers.
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh
need clang-tidy

seen=build/lint
mkdir -p "$seen"
rules=$(cat .clang-tidy ./*/.clang-tidy packaging/lint/files.sh | sha256sum; clang-tidy --version)
output=$(mktemp "${TMPDIR:-/tmp}/baton-tidy.XXXXXX")
trap 'rm -f "$output"' EXIT
# stderr only counts the warnings that were suppressed in other projects' headers.
# shellcheck disable=SC2016 # expanded by the inner shell
if c_files '*.c' | FLAGS=$COMPILE_FLAGS RULES=$rules SEEN=$seen xargs -P "$(nproc)" -n 4 sh -c '
        bad=0
        for file in "$@"; do
                key=$({ echo "$file $FLAGS $RULES"; clang -E -C $FLAGS "$file"; } 2>/dev/null | sha256sum)
                [ -e "$SEEN/${key%% *}" ] && continue
                if clang-tidy --quiet "$file" -- $FLAGS 2>/dev/null; then
                        : >"$SEEN/${key%% *}"
                else
                        bad=1
                fi
        done
        exit $bad' tidy >"$output"; then
        exit 0
fi
cat "$output"
exit 1
