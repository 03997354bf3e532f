#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A build that was made with one compiler, one set of flags or one prefix must not be taken for
# another: else `make && make install PREFIX=/usr` installs programs that look under /usr/local, and
# `make CC=clang` after gcc checks nothing. Asks make for the small files that remember what was built.
set -eu

cd "$(dirname "$0")/../.."
directory=$(mktemp -d "${TMPDIR:-/tmp}/baton-build.XXXXXX")
trap 'rm -rf "$directory"' EXIT

# The make that runs the tests must not pass its own variables on.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL

# expect FILE TEXT VARIABLE…: after make with these variables, FILE holds TEXT
expect() {
        file=$1 text=$2
        shift 2
        make -s BUILD="$directory" "$@" "$directory/$file" >"$directory/output" 2>&1 || {
                cat "$directory/output"
                exit 1
        }
        if ! grep -q -- "$text" "$directory/$file"; then
                echo "make $*: $file does not hold $text but: $(cat "$directory/$file")"
                exit 1
        fi
}

expect prefix '^/one/lib/baton$' PREFIX=/one
expect prefix '^/two/lib/baton$' PREFIX=/two
expect flags '^gcc .*-O1' CC=gcc CFLAGS=-O1
expect flags '^clang .*-O1' CC=clang CFLAGS=-O1
expect flags '^clang .*-O3' CC=clang CFLAGS=-O3
