# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Sourced by the checks. The project's files, and how they are compiled.

# Prints the project's C files whose name fits the pattern, one a line.
c_files() {
        find base include shm worker supervisor prove tests -type f -name "$1" | sort
}

# What the Makefile gives to every compiler (LIBEXECDIR to supervisor/ alone; the value does not matter).
# The inner quotes are meant for the compiler.
# shellcheck disable=SC2034,SC2089
COMPILE_FLAGS='-std=gnu17 -D_GNU_SOURCE -I. -DLIBEXECDIR="/usr/local/lib/baton"'

# Where `command -v clang-tidy` finds nothing, one sentence and a failure.
need() {
        command -v "$1" >/dev/null 2>&1 || {
                echo "$1 is not installed: packaging/install-deps.sh lint"
                exit 1
        }
}
