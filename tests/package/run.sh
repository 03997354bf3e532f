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
skip() {
        echo "[SKIP] package: $1"
        exit 0
}
[ "$(id -u)" -eq 0 ] || skip 'needs root'
[ -e /lib/systemd/systemd ] || skip 'no systemd is installed here'
command -v systemd-nspawn >/dev/null 2>&1 || skip 'systemd-nspawn is not installed (packaging/install-deps.sh systemd)'

base=$(mktemp -d "${TMPDIR:-/tmp}/baton-package.XXXXXX")
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
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/memory/upper,workdir=$base/memory/work" "$root" 2>/dev/null ||
        skip 'no overlay can be mounted here'
rm -rf "${root:?}/dev" "$root/etc/baton" "$root/var/lib/baton" "$root/run/baton" "$root/srv/shop" "$root/usr/sbin/policy-rc.d"
mkdir -p "$root/dev" "$root/baton-test/new" "$root/srv/shop"
systemd-id128 new >"$root/etc/machine-id"

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

# Slow, and nobody's business here.
for unit in systemd-logind.service getty.target console-getty.service systemd-timesyncd.service cron.service \
        postgresql.service networking.service ssh.service apt-daily.timer apt-daily-upgrade.timer man-db.timer \
        logrotate.timer e2scrub_all.timer dpkg-db-backup.timer fstrim.timer systemd-resolved.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
cat >"$root/etc/systemd/system/baton-test.service" <<'END'
[Service]
Type=oneshot
ExecStart=/baton-test/guest.sh
ExecStopPost=/bin/sh -c 'echo "$SERVICE_RESULT" >/baton-test/result; systemctl poweroff --force'
StandardOutput=file:/baton-test/output
StandardError=inherit
END
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf ../baton-test.service "$root/etc/systemd/system/multi-user.target.wants/baton-test.service"
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

timeout --kill-after=10 280 systemd-nspawn --quiet --boot --register=no --keep-unit --directory="$root" --console=pipe \
        </dev/null >"$base/console" 2>&1 || true
[ ! -e "$root/baton-test/output" ] || cat "$root/baton-test/output"
if [ ! -e "$root/baton-test/result" ]; then
        echo "the container did not come to its end; its console:"
        tail -40 "$base/console"
        exit 1
fi
[ "$(cat "$root/baton-test/result")" = success ]
