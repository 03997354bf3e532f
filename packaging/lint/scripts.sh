#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every shell script passes shellcheck.
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh
need shellcheck

find .ci packaging prove tests -type f \( -name '*.sh' -o -path '.ci/run' \) -exec shellcheck -x {} +
