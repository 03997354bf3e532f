#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every C file is what clang-format 14 makes of it (.clang-format).
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh
need clang-format

c_files '*.[ch]' | xargs -P "$(nproc)" -n 8 clang-format --dry-run --Werror
