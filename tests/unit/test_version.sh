#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The version stands in one place, base/version.h: the programs print it, and the package is called by it.
set -eu

cd "$(dirname "$0")/../.."
version=$(sed -n 's/^#define BATON_VERSION "\(.*\)"$/\1/p' base/version.h)
[ -n "$version" ] || {
        echo "base/version.h names no version"
        exit 1
}

# same WHAT TEXT
same() {
        [ "$2" = "$version" ] || {
                echo "$1 says \"$2\", base/version.h $version"
                exit 1
        }
}
same 'baton --version' "$("$BATON_BIN/baton" --version | sed -n 's/^baton //p')"
same 'batond --version' "$("$BATON_BIN/batond" --version | sed -n 's/^batond //p')"
same packaging/debian/changelog "$(sed -n '1s/^baton (\([^)]*\)).*/\1/p' packaging/debian/changelog)"
