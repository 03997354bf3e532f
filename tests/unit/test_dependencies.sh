#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the build of the package asks for is what packaging/install-deps.sh installs for it: the Build-Depends of
# debian/control, and build-essential, which dpkg asks for unnamed. A machine that is developed on has all of it anyway.
set -eu

cd "$(dirname "$0")/../.."
installed=$(sed -n "/^build='/,/'\$/p; /^deb='/,/'\$/p" packaging/install-deps.sh | tr "=' " '\n')
wanted="build-essential $(sed -n '/^Build-Depends:/,/^[A-Z][A-Za-z-]*: ./p' packaging/debian/control |
        sed -n 's/^ \([a-z0-9.+-]*\).*/\1/p' | sed 's/^debhelper-compat$/debhelper/')"
[ "$(echo "$wanted" | wc -w)" -gt 5 ] || {
        echo "packaging/debian/control: no Build-Depends were found"
        exit 1
}
for package in $wanted; do
        echo "$installed" | grep -qx "$package" || {
                echo "packaging/install-deps.sh deb does not install $package, without which dpkg-buildpackage refuses"
                exit 1
        }
done
