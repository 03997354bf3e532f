#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-tidy with .clang-tidy over every C file, on all processors.
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh
need clang-tidy

output=$(mktemp "${TMPDIR:-/tmp}/baton-tidy.XXXXXX")
trap 'rm -f "$output"' EXIT
# stderr only counts the warnings that were suppressed in other projects' headers.
# shellcheck disable=SC2016 # expanded by the inner shell
if c_files '*.c' | FLAGS=$COMPILE_FLAGS xargs -P "$(nproc)" -n 4 \
        sh -c 'clang-tidy --quiet "$@" -- $FLAGS 2>/dev/null' tidy >"$output"; then
        exit 0
fi
cat "$output"
exit 1
