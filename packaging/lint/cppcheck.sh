#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cppcheck over the product. Headers of other projects are not looked for: it needs no types of theirs.
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh
need cppcheck

c_files '*.c' | grep -Ev '^(tests|prove)/' | cppcheck --file-list=- --quiet -j "$(nproc)" --std=c11 -I. -D_GNU_SOURCE \
        -D__x86_64__ '-DLIBEXECDIR="/usr/local/lib/baton"' --enable=warning,portability,performance --inline-suppr \
        --suppress=missingInclude --suppress=missingIncludeSystem --error-exitcode=1 \
        --suppressions-list=packaging/lint/cppcheck.suppressions
