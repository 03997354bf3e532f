#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Boots a real systemd in a container and drives the installed service in it (guest/).
# Must not touch: the machine's own units, users and files.
#
# usage: BATON_BIN=BUILD/bin tests/systemd/test_service.sh [STEP]     (a part of a step's name: that one alone)
set -eu
bin=$(cd "${BATON_BIN:?is set by make}" && pwd)
build=$(dirname "$bin")
prefix=${BATON_PREFIX:-/usr/local}
libexecdir=${BATON_LIBEXECDIR:-$prefix/lib/baton}
# shellcheck source=tests/systemd/container.sh
. "$(dirname "$0")/container.sh"
cd "$(dirname "$0")/../.."

container_begin systemd "$bin/batond"
# Where it was built for, so that nothing is compiled here, beside other tests that run it.
DESTDIR=$root PREFIX=$prefix LIBEXECDIR=$libexecdir packaging/install.sh "$bin"
cp "$build/systemd/guest" "$root/baton-test/"
ln -s /bin/sh "$prefix/bin/baton" "$libexecdir/baton-checker" "$libexecdir/batond" "$root/baton-test/"
ln -s "$libexecdir" "$root/baton-test/lib"
mkdir -p "$root/etc/dbus-1/system.d"
ln -sf "$prefix/share/dbus-1/system.d/org.baton.conf" "$root/etc/dbus-1/system.d/" # the bus looks below /usr alone
# An overlay shows other numbers of files than the kernel's list of locks.
container_run "${SYSTEMD_TEST_SECONDS:-280}" <<END
Environment=BATON_BIN=/baton-test BENCH_QUICK=${BENCH_QUICK:-0}
ExecStart=/bin/sh -c 'mkdir -p /var/lib/baton && mount -t tmpfs tmpfs /var/lib/baton'
ExecStart=/bin/sh -c 'systemd-sysusers && systemd-tmpfiles --create baton.conf && { systemctl reload dbus.service || true; } && journalctl --update-catalog'
ExecStart=systemctl daemon-reload
ExecStart=/baton-test/guest "${1:-}"
END
