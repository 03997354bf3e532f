# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# A container with a real systemd, for tests: its root is this machine's, with a layer in memory above it, so that what
# is installed or broken there is gone with it. Sourced by tests/systemd/test_service.sh and tests/package/test_package.sh.
# Must not touch: the machine's own units, users, packages and files.

# container_begin NAME PROGRAM: $root is the container's root from here on. Where there can be none, or PROGRAM is of a
# build that cannot run there, says why and ends with 0.
container_begin() {
        name=$1
        container_unsanitized "$2"
        [ "$(id -u)" -eq 0 ] || container_skip 'needs root'
        [ -e /lib/systemd/systemd ] || container_skip 'no systemd is installed here'
        command -v systemd-nspawn >/dev/null 2>&1 ||
                container_skip 'systemd-nspawn is not installed (packaging/install-deps.sh systemd)'
        base=$(mktemp -d "${TMPDIR:-/tmp}/baton-$name.XXXXXX")
        root=$base/memory/root
        trap container_end EXIT
        trap 'exit 130' INT TERM
        mkdir "$base/memory"
        mount -t tmpfs tmpfs "$base/memory" 2>/dev/null || container_skip 'nothing can be mounted here'
        mkdir "$base/memory/upper" "$base/memory/work" "$root"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$base/memory/upper,workdir=$base/memory/work" "$root" \
                2>/dev/null || container_skip 'no overlay can be mounted here'
        # What this machine has of Baton is not what is tested; its /dev is the host's.
        rm -rf "${root:?}/dev" "$root/etc/baton" "$root/var/lib/baton" "$root/srv/shop" "$root/run/baton" \
                "$root/usr/sbin/policy-rc.d"
        mkdir -p "$root/dev" "$root/baton-test"
        systemd-id128 new >"$root/etc/machine-id"
        container_nspawn 60 true || container_skip "systemd-nspawn cannot run here: $(tail -1 "$base/console")"
}

# container_unsanitized PROGRAM
container_unsanitized() {
        ! ldd "$1" | grep -qE 'lib(a|t|l)san' || container_skip 'a sanitized build maps more than its unit allows'
}

container_skip() {
        echo "[SKIP] $name: $1"
        exit 0
}

# nspawn boots in the control group that it is started in, and leaves "payload" there: two containers of one group would
# be one machine to their systemds. So each has a group of its own below ours, where one can be made.
container_groups() {
        for hierarchy in "/sys/fs/cgroup 0:" "/sys/fs/cgroup/unified 0:" "/sys/fs/cgroup/systemd [0-9]*:name=systemd"; do
                [ -e "${hierarchy% *}/cgroup.procs" ] || continue
                ours=$(sed -n "s/^${hierarchy#* }://p" /proc/self/cgroup)
                echo "${hierarchy% *}${ours%/}/baton-${base##*.}"
        done
}

# container_nspawn SECONDS WORD…: with those last words for it. Its output is in $base/console. Workers confine themselves
# (P7), as on a host: this systemd-nspawn would forbid it.
container_nspawn() {
        seconds=$1
        shift
        # shellcheck disable=SC2016 # for the inner shell
        timeout --kill-after=10 "$seconds" sh -c '
                for group in $1; do
                        { mkdir -p "$group" && echo $$ >"$group/cgroup.procs"; } || echo "no group of its own: $group"
                done
                shift
                exec systemd-nspawn --quiet --register=no --keep-unit --console=pipe \
                        --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" "$@"' \
                nspawn "$(container_groups)" --directory="$root" "$@" </dev/null >"$base/console" 2>&1
}

container_end() {
        # The last: of the guest's step that fills a memory (guest/memory.c), if that came to no end.
        for group in $(container_groups) "/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)/baton-test-$(
                cat "$root/etc/machine-id"
        )"; do
                [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
        umount "$root" 2>/dev/null || true
        umount "$base/memory" 2>/dev/null || true
        rm -rf "$base"
}

# container_run SECONDS: boots it, with what stands on stdin as [Service] of the one unit that is run, prints what that
# prints, and succeeds where it does.
container_run() {
        # Slow, and nobody's business here.
        for unit in systemd-logind.service getty.target console-getty.service systemd-timesyncd.service \
                cron.service postgresql.service networking.service ssh.service apt-daily.timer \
                apt-daily-upgrade.timer man-db.timer logrotate.timer e2scrub_all.timer dpkg-db-backup.timer \
                fstrim.timer systemd-resolved.service; do
                ln -sf /dev/null "$root/etc/systemd/system/$unit"
        done
        {
                printf '[Service]\nType=oneshot\nStandardOutput=file:/baton-test/output\nStandardError=inherit\n'
                cat
                # shellcheck disable=SC2016 # for the shell in there
                echo 'ExecStopPost=/bin/sh -c '\''echo "$SERVICE_RESULT" >/baton-test/result; systemctl poweroff --force'\'
        } >"$root/etc/systemd/system/baton-test.service"
        mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
        ln -sf ../baton-test.service "$root/etc/systemd/system/multi-user.target.wants/baton-test.service"
        ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
        container_nspawn "$1" --boot || true
        [ ! -e "$root/baton-test/output" ] || cat "$root/baton-test/output"
        if [ ! -e "$root/baton-test/result" ]; then
                echo "the container did not come to its end; its console:"
                tail -40 "$base/console"
                return 1
        fi
        [ "$(cat "$root/baton-test/result")" = success ]
}
