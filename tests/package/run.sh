#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The package under a real systemd, in a container whose root is this machine's with a layer in memory above it: what
# is installed or broken there is gone with it. guest.sh installs, upgrades, removes and purges, and looks.
# Must not touch: the machine's own packages, units and files.
#
# usage: tests/package/run.sh DIRECTORY     (where `make deb` left the packages)
set -eu

packages=$(cd "${1:?usage: $0 DIRECTORY}" && pwd)
cd "$(dirname "$0")"
# shellcheck source=tests/systemd/container.sh
. ../systemd/container.sh

container_begin package
mkdir -p "$root/baton-test/new" "$root/srv/shop"

# The same package under the next version. What the new programs do in the place of the old ones is tested elsewhere.
cp "$packages"/baton_*.deb "$packages"/baton-dev_*.deb "$root/baton-test"
(
        cd "$root/baton-test"
        dpkg-deb -R baton_*.deb tree
        sed -i 's/^\(Version: .*\)/\1+next/' tree/DEBIAN/control
        sed -i '1s/.*/# of the next version/' tree/etc/baton/baton.conf
        (cd tree && find etc usr lib -type f -exec md5sum {} + | grep -v ' etc/') >tree/DEBIAN/md5sums
        dpkg-deb -Zgzip -z1 --root-owner-group -b tree new >/dev/null
        rm -rf tree
)
cp guest.sh "$root/baton-test/guest.sh"

container_run 280 <<'END'
ExecStart=/baton-test/guest.sh
END
