#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Boots a real systemd in a container and drives the installed service in it (guest/).
# Must not touch: the machine's own units, users and files.
#
# usage: BATON_BIN=BUILD/bin tests/systemd/run.sh [STEP]     (a part of a step's name: that one alone)
set -eu
bin=${BATON_BIN:?is set by make systemd}
build=$(dirname "$bin")
# shellcheck source=tests/systemd/container.sh
. "$(dirname "$0")/container.sh"

if ldd "$bin/batond" | grep -qE 'lib(a|t|l)san'; then
        echo '[SKIP] systemd: a sanitized build maps more than its unit allows'
        exit 0
fi
container_begin systemd
make -s install DESTDIR="$root" PREFIX=/usr BUILD="$build"
cp "$build/systemd/guest" "$root/baton-test/"
ln -s /bin/sh /usr/bin/baton /usr/lib/baton/baton-checker /usr/lib/baton/batond "$root/baton-test/"
container_run "${SYSTEMD_TEST_SECONDS:-280}" <<END
Environment=BATON_BIN=/baton-test
ExecStart=/bin/sh -c 'systemd-sysusers && systemd-tmpfiles --create baton.conf && systemctl daemon-reload'
ExecStart=/baton-test/guest "${1:-}"
END
