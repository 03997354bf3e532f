#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# P1, section 3 of the design: the supervisor is linked with no database library, nor with one that
# parses events. Looks at the binary itself, so that no change of the Makefile can go unseen.
set -eu

batond=${BATON_BIN:?is set by make unit}/batond
libraries=$(ldd "$batond")

case $libraries in
*libsystemd.so*) ;;
*)
        echo "$batond: ldd names no libsystemd, so this test sees nothing: $libraries"
        exit 1
        ;;
esac
if echo "$libraries" | grep -E 'libsqlite3|libpq|libjansson'; then
        echo "$batond is linked with the libraries above; the supervisor opens no database (P1)"
        exit 1
fi
