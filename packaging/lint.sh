#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make lint`: every rule of the project that a machine can check. Runs all checks, then fails if one
# of them failed, so that one run shows everything.
# Must not touch: any file but its own notes in build/lint; it only reads.
#
# usage: packaging/lint.sh [CHECK…]      (default: all in packaging/lint/)
set -u
cd "$(dirname "$0")/.." || exit 1

export LC_ALL=C
failed=
[ $# -gt 0 ] || set -- sizes includes numbers mutants headers format scripts cppcheck tidy
for check in "$@"; do
        start=$(date +%s)
        if "packaging/lint/$check.sh"; then
                printf '  ok    %-10s %3d s\n' "$check" $(($(date +%s) - start))
        else
                failed="$failed $check"
                printf '  FAIL  %-10s %3d s\n' "$check" $(($(date +%s) - start))
        fi
done
[ -z "$failed" ] || {
        echo "lint failed:$failed"
        exit 1
}
