#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make deb`: builds the Debian packages in a copy of the tracked files, with packaging/debian as the debian/ that
# debhelper wants at the root, lets lintian judge them, and leaves them in OUTPUT. They are the same, byte for byte,
# wherever and whenever they are built: times come from the changelog, paths are cut.
# Must not touch: the tree. The tests of the product are not run here (make check).
#
# usage: [DEB_VERSION=x] packaging/deb.sh OUTPUT     (DEB_VERSION: a later one than the tree's, for tests of upgrades)
set -eu

output=${1:?usage: $0 OUTPUT}
mkdir -p "$output"
output=$(cd "$output" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/baton-deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Outside of git, all but what was built. What git knows and is removed is no part of the tree.
mkdir "$work/tree"
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        # shellcheck disable=SC2016 # for the inner shell
        git ls-files -z | xargs -0 sh -c 'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh
else
        find . -path './build*' -prune -o -type f -print0
fi | tar -c --null -T - | tar -x -C "$work/tree"
cd "$work/tree"
cp -r packaging/debian debian

if [ -n "${DEB_VERSION:-}" ]; then
        sed -i "s/^#define BATON_VERSION .*/#define BATON_VERSION \"$DEB_VERSION\"/" base/version.h
        date=$(date -u -R -d "$(dpkg-parsechangelog -S Date) + 1 day")
        sed "s/^baton ([^)]*)/baton ($DEB_VERSION)/; s/^  \* .*/  * Made for a test of upgrades./; s/^\( -- .*>  \).*/\1$date/" \
                packaging/debian/changelog | sed '/^ -- /q' >debian/changelog
        echo >>debian/changelog
        cat packaging/debian/changelog >>debian/changelog
fi
[ "$(dpkg-parsechangelog -S Version)" = "$(sed -n 's/^#define BATON_VERSION "\(.*\)"/\1/p' base/version.h)" ] || {
        echo "$0: packaging/debian/changelog and base/version.h name different versions" >&2
        exit 1
}

# Nothing of the make that called us: its variables (BUILD!) are in the environment.
env -i PATH="$PATH" HOME="$work" TMPDIR="$work" LC_ALL=C.UTF-8 DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" \
        dpkg-buildpackage -b -us -uc >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        exit 1
}
lintian --allow-root --fail-on error,warning "$work"/*.changes
rm -f "$output"/baton*.deb "$output"/baton*.changes "$output"/baton*.buildinfo
mv "$work"/*.deb "$output"
ls -l "$output"
