#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The package, built and then put under a real systemd, in a container (tests/systemd/container.sh): what is installed or
# broken there is gone with it. guest.sh installs, upgrades, removes and purges, and looks.
# Must not touch: the machine's own packages, units and files.
#
# usage: BATON_BIN=BUILD/bin tests/package/test_package.sh     (the packages are left in BUILD/deb)
set -eu

bin=$(cd "${BATON_BIN:?is set by make}" && pwd)
build=$(dirname "$bin")
# shellcheck source=tests/systemd/container.sh
. "$(dirname "$0")/../systemd/container.sh"
cd "$(dirname "$0")/../.."

container_begin package "$bin/batond"
packaging/deb.sh "$build/deb"
mkdir -p "$root/baton-test/new" "$root/srv/shop"

# The same package under the next version. What the new programs do in the place of the old ones is tested elsewhere.
cp "$build"/deb/baton_*.deb "$build"/deb/baton-dev_*.deb "$root/baton-test"
(
        cd "$root/baton-test"
        dpkg-deb -R baton_*.deb tree
        sed -i 's/^\(Version: .*\)/\1+next/' tree/DEBIAN/control
        sed -i '1s/.*/# of the next version/' tree/etc/baton/baton.conf
        (cd tree && find etc usr lib -type f -exec md5sum {} + | grep -v ' etc/') >tree/DEBIAN/md5sums
        dpkg-deb -Zgzip -z1 --root-owner-group -b tree new >/dev/null
        rm -rf tree
)
cp tests/package/guest.sh "$build/systemd/guest" "$root/baton-test/"
ln -s /bin/sh /usr/bin/baton /usr/lib/baton/baton-checker "$root/baton-test/"

container_run 200 <<'END'
Environment=BATON_BIN=/baton-test
ExecStart=/baton-test/guest.sh
END
for package in "$build"/deb/baton_*.deb; do
        echo "  $(basename "$package"): $(($(stat -c %s "$package") / 1024)) KiB, installed $(dpkg-deb -f "$package" Installed-Size) KiB"
        echo "  depends on $(dpkg-deb -f "$package" Pre-Depends Depends | sed 's/^[A-Za-z-]*: //' | tr '\n' ' ')"
done
echo '[SUMMARY] package: installed, upgraded, removed, purged'
