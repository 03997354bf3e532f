#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Run by test_package.sh in its container: the life of the package, with events moving through it, and what must be seen at
# each step. Ends with the first thing that is not so.
set -euo pipefail

cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive

fail() {
        echo "  FAIL  $1"
        systemctl --no-pager status baton.service || true
        journalctl --no-pager -n 30 || true
        exit 1
}
is() {
        "${@:2}" >command.log 2>&1 || {
                cat command.log
                fail "$1"
        }
}
isnt() {
        ! "${@:2}" >command.log 2>&1 || {
                cat command.log
                fail "$1"
        }
}
step() {
        echo "  ok    $1"
}
# within SECONDS WHAT COMMAND…
within() {
        local end=$((SECONDS + $1))
        until "${@:3}" >command.log 2>&1; do
                ((SECONDS < end)) || {
                        cat command.log
                        fail "$2 within $1 s"
                }
                sleep 0.1
        done
}
pid() {
        systemctl show --value --property=MainPID baton.service
}
workers() {
        pgrep -x baton-worker | sort -n | tr '\n' ' '
}
has_workers() {
        [ "$(workers | wc -w)" -eq "$1" ]
}
moved() {
        [ "$(sqlite3 -readonly /var/lib/baton/events.db 'SELECT count(*), max(position) FROM baton_events')" = \
                "$(sqlite3 -readonly /srv/shop/orders.db 'SELECT count(*), max(seq) FROM outbox')" ]
}
events() {
        local i
        for ((i = 0; i < $1; i++)); do
                echo "INSERT INTO outbox (key, payload) VALUES ($RANDOM, 'x');"
        done | runuser -u baton -- sqlite3 -cmd '.timeout 5000' /srv/shop/orders.db
}

# ---- installed: it runs, as nobody in particular, and waits for a configuration
is 'dpkg -i' dpkg -i baton_*.deb baton-dev_*.deb
is 'the service is enabled' systemctl is-enabled baton.service
within 10 'the service is active' systemctl is-active baton.service
isnt 'the socket is enabled without having been asked for' systemctl is-enabled baton.socket
[ "$(stat -c %U "/proc/$(pid)")" = baton ] || fail 'it does not run as user baton'
is 'group baton-operators' getent group baton-operators
is 'the state directory is its own' test "$(stat -c %U /var/lib/baton)" = baton
is 'credentials are root'\''s' test "$(stat -c '%U:%G %a' /etc/baton/baton.credentials)" = 'root:root 750'
isnt 'a directory of the package has not the mode of the unit' sh -c 'journalctl -b | grep "but the mode is different"'
is 'check takes the configuration' baton check
is 'status' baton status
for page in baton.1 baton.conf.5 batond.8; do
        is "man ${page%.*}" test -s "/usr/share/man/man${page##*.}/$page.gz"
done
is 'pkg-config' pkg-config --exists baton
is "journald's catalogue knows its messages" grep -q '^c2d03ff1515a437c9d1b824ac9abaa42' <(journalctl --list-catalog)
is 'systemd-analyze verify' systemd-analyze verify baton.service baton@one.service
step 'installed: runs as user baton, and moves nothing'

# ---- it moves, by a configuration that is reloaded
install -d -o baton -g baton /srv/shop
mkdir -p /etc/systemd/system/baton.service.d
printf '[Service]\nReadWritePaths=/srv/shop\n' >/etc/systemd/system/baton.service.d/shop.conf
is 'daemon-reload' systemctl daemon-reload
is 'restart' systemctl restart baton.service
is 'outbox create' runuser -u baton -- baton outbox create /srv/shop/orders.db
sed -i 's/^;//' /etc/baton/baton.conf
is 'reload' systemctl reload baton.service
within 10 'two workers' has_workers 2
events 100
within 10 'events arrive' moved
step 'configured: moves'

# ---- upgraded: nobody is stopped, the configuration stays
before="$(pid) $(workers)"
old_ones=$(readlink "/proc/$(pid)/exe")
is 'upgrade' ./guest while orders 'dpkg -i --force-confold new/baton_*.deb'
grep '^  longest gap' command.log || fail 'nothing moved during the upgrade'
grep '^  changes of owner: [1-9].*, 0 otherwise' command.log || fail "the session was without an owner for a while: $(cat command.log)"
is 'still active' systemctl is-active baton.service
[ "$(pid)" = "${before%% *}" ] || fail "the supervisor was another before the upgrade (${before%% *}, now $(pid))"
has_workers 2 || fail "there are not as many workers as before: $before, now $(pid) $(workers)"
[ "$old_ones" = /usr/lib/baton/batond ] || fail "before the upgrade the supervisor was $old_ones"
for process in $(pid) $(workers); do
        # A program that was replaced is "… (deleted)" to the process that runs it.
        is "process $process runs the new program" test -e "$(readlink "/proc/$process/exe")"
done
grep -q '^\[source orders\]' /etc/baton/baton.conf || fail 'the upgrade changed the configuration'
events 100
within 10 'events arrive after the upgrade' moved
step 'upgraded: the same supervisor with the new program, new workers, the same configuration, events move'

is 'stop' systemctl stop baton.service
is 'upgrade of a stopped one' dpkg -i --force-confold baton_*.deb
isnt 'a service that was stopped stays so over an upgrade' systemctl is-active baton.service
step 'upgraded while stopped: stays stopped'

# ---- an instance, and removed
sed 's,/var/lib/baton/,/var/lib/baton-one/,' /etc/baton/baton.conf >/etc/baton/one.conf
mkdir -p /etc/systemd/system/baton@one.service.d
cp /etc/systemd/system/baton.service.d/shop.conf /etc/systemd/system/baton@one.service.d/
is 'daemon-reload' systemctl daemon-reload
is 'an instance is enabled and started' systemctl enable --now baton@one.service
is 'start' systemctl start baton.service
within 10 'workers of both' has_workers 4
is 'remove' dpkg -r baton
isnt 'the service is stopped' systemctl is-active baton.service
isnt 'the instance is stopped' systemctl is-active baton@one.service
[ -z "$(workers)" ] || fail "workers are left after the removal: $(workers)"
is 'the state is kept' test -s /var/lib/baton/instance
is 'the configuration is kept' grep -q 'source orders' /etc/baton/baton.conf
isnt 'no program is left' test -e /usr/lib/baton/batond
step 'removed: stopped, with its instance; state and configuration kept'

# ---- installed again, and purged
is 'install again' dpkg -i baton_*.deb
within 10 'it is started' systemctl is-active baton.service
runuser -u baton -- sqlite3 /srv/shop/orders.db "INSERT INTO outbox (key, payload) VALUES (1, 'x')"
within 10 'it goes on where it was' moved
is 'verify' baton verify
is 'purge' dpkg -P baton baton-dev
for path in /etc/baton /var/lib/baton /var/lib/baton-one /run/baton /run/baton-one /usr/lib/baton /usr/include/baton \
        /usr/share/doc/baton /etc/systemd/system/multi-user.target.wants/baton.service \
        /etc/systemd/system/multi-user.target.wants/baton@one.service; do
        isnt "$path is gone" test -e "$path"
done
[ -z "$(dpkg-query -W -f '${Package}' baton 2>/dev/null)" ] || fail 'dpkg still knows baton'
step 'purged: nothing is left but the user'
