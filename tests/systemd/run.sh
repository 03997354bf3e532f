#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Boots a real systemd in a container and drives the service in it (guest/). The container's root is this machine's,
# with a layer in memory above it: what is installed or broken there is gone with it.
# Must not touch: the machine's own units, users and files.
#
# usage: BATON_BIN=BUILD/bin tests/systemd/run.sh [STEP]     (a part of a step's name: that one alone)
set -eu
bin=${BATON_BIN:?is set by make systemd}
build=$(dirname "$bin")

skip() {
        echo "[SKIP] systemd: $1"
        exit 0
}
[ "$(id -u)" -eq 0 ] || skip 'needs root'
[ -d /run/systemd/system ] || [ -e /lib/systemd/systemd ] || skip 'no systemd is installed here'
command -v systemd-nspawn >/dev/null 2>&1 || skip 'systemd-nspawn is not installed (packaging/install-deps.sh systemd)'
if ldd "$bin/batond" | grep -qE 'lib(a|t|l)san'; then
        skip 'a sanitized build maps more than its unit allows'
fi

base=$(mktemp -d "${TMPDIR:-/tmp}/baton-systemd.XXXXXX")
root=$base/memory/root
end() {
        umount "$root" 2>/dev/null || true
        umount "$base/memory" 2>/dev/null || true
        rm -rf "$base"
}
trap end EXIT
trap 'exit 130' INT TERM
mkdir "$base/memory"
mount -t tmpfs tmpfs "$base/memory" 2>/dev/null || skip 'nothing can be mounted here'
mkdir "$base/memory/upper" "$base/memory/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/memory/upper,workdir=$base/memory/work" "$root" ||
        skip 'no overlay can be mounted here'

# What this machine has installed of Baton is not what is tested; its /dev is the host's.
rm -rf "${root:?}/dev" "$root/etc/baton" "$root/var/lib/baton" "$root/srv/shop" "$root/run/baton"
mkdir "$root/dev"
systemd-id128 new >"$root/etc/machine-id"
make -s install DESTDIR="$root" PREFIX=/usr BUILD="$build"
mkdir -p "$root/baton-test"
cp "$build/systemd/guest" "$root/baton-test/"
ln -s /bin/sh /usr/bin/baton /usr/lib/baton/baton-checker /usr/lib/baton/batond "$root/baton-test/"

# Slow, and nobody's business here.
for unit in systemd-logind.service getty.target console-getty.service systemd-timesyncd.service cron.service \
        postgresql.service networking.service ssh.service apt-daily.timer apt-daily-upgrade.timer man-db.timer \
        logrotate.timer e2scrub_all.timer dpkg-db-backup.timer fstrim.timer systemd-resolved.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
cat >"$root/etc/systemd/system/baton-test.service" <<END
[Service]
Type=oneshot
Environment=BATON_BIN=/baton-test
ExecStart=/bin/sh -c 'systemd-sysusers && systemd-tmpfiles --create baton.conf && systemctl daemon-reload'
ExecStart=/baton-test/guest "${1:-}"
ExecStopPost=/bin/sh -c 'echo "\$SERVICE_RESULT" >/baton-test/result; systemctl poweroff --force'
StandardOutput=file:/baton-test/output
StandardError=inherit
END
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf ../baton-test.service "$root/etc/systemd/system/multi-user.target.wants/baton-test.service"
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

timeout --kill-after=10 "${SYSTEMD_TEST_SECONDS:-280}" \
        systemd-nspawn --quiet --boot --register=no --keep-unit --directory="$root" --console=pipe \
        </dev/null >"$base/console" 2>&1 || true
[ ! -e "$root/baton-test/output" ] || cat "$root/baton-test/output"
if [ ! -e "$root/baton-test/result" ]; then
        echo "the container did not come to its end; its console:"
        tail -40 "$base/console"
        exit 1
fi
[ "$(cat "$root/baton-test/result")" = success ]
