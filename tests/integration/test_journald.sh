#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A real journald, and `journalctl` as an operator uses it: the life of a session by BATON_SESSION=, the explanations of
# -x with the fields of the line in them, an id on every line, and no payload anywhere (P5, B9, V10).
#
# The journald is one of this test's own, in a mount namespace where /run, /var/log and the catalogue are empty; Baton's
# stderr is said to be its stream. Must not touch: the machine's journal and catalogue.
set -eu

cd "$(dirname "$0")/../.."
journald=/lib/systemd/systemd-journald

skip() {
        echo "skipped: $1"
        exit 0
}

if [ "${1:-}" != --within ]; then
        [ "$(id -u)" -eq 0 ] || skip 'a mount namespace needs root'
        [ -x "$journald" ] || skip 'there is no systemd-journald'
        unshare --mount true 2>/dev/null || skip 'no mount namespace may be made here'
        BATON_TEST_DIRECTORY=$(mktemp -d "${TMPDIR:-/tmp}/baton-journald.XXXXXX")
        export BATON_TEST_DIRECTORY
        status=0
        unshare --mount --propagation private "$0" --within || status=$?
        rm -rf "$BATON_TEST_DIRECTORY"
        exit $status
fi

# ---- within the namespace ----
bin=${BATON_BIN:?is set by make integration}
directory=$BATON_TEST_DIRECTORY
batond=
journald_pid=
finish() {
        [ -z "$batond" ] || kill -KILL "$batond" 2>/dev/null || true
        # Workers see that the state directory is gone, or are told by adopt-timeout.
        for pid in $(workers); do
                kill -KILL "$pid" 2>/dev/null || true
        done
        [ -z "$journald_pid" ] || kill "$journald_pid" 2>/dev/null || true
}
trap finish EXIT

workers() {
        pgrep -f "baton-worker --state $directory/" || true
}

fail() {
        echo "test_journald: $1"
        log --output=short-precise | tail -n 40
        exit 1
}

log() {
        LC_ALL=C journalctl --directory=/run/log/journal --quiet --no-pager "$@"
}

# has MATCH…: the journal has such an entry by now
has() {
        [ -n "$(log --output=cat "$@")" ]
}

# wait_for COMMAND…: true within 30 s
wait_for() {
        end=$(($(date +%s) + 30))
        until "$@"; do
                [ "$(date +%s)" -lt $end ] || fail "never came: $*"
                sleep 0.05
        done
}

mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /var/lib/systemd
mount -t tmpfs tmpfs /usr/lib/systemd/catalog
mkdir -p /run/systemd/journald.conf.d /run/log/journal /run/baton "$directory/state" /var/lib/systemd/catalog
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nForwardToSyslog=no\nForwardToWall=no\n' \
        >/run/systemd/journald.conf.d/test.conf
cp packaging/systemd/baton.catalog /usr/lib/systemd/catalog
journalctl --update-catalog
"$journald" >"$directory/journald.out" 2>&1 &
journald_pid=$!
wait_for test -S /run/systemd/journal/socket

cat >"$directory/baton.conf" <<END
[destination events]
url = sqlite:$directory/events.db
workers = 2

[source orders]
url = sqlite:$directory/orders.db?table=outbox
to = events
END
"$bin/baton" outbox create "$directory/orders.db" >/dev/null

start() {
        : >"$directory/stderr"
        stream=$(stat -c %d:%i "$directory/stderr")
        JOURNAL_STREAM=$stream BATON_WORKER=$bin/baton-worker "$bin/batond" \
                -c "$directory/baton.conf" --state "$directory/state" --runtime /run/baton 2>>"$directory/stderr" &
        batond=$!
}

# The pid of the worker that has the session.
owner() {
        "$bin/baton" status --runtime /run/baton --json |
                awk '/"session": "orders"/ { within = 1 } within && /"pid": [0-9]/ { gsub(/[^0-9]/, ""); print; exit }'
}

owner_is_not() {
        now=$(owner) && [ -n "$now" ] && [ "$now" != "$1" ]
}

is_told_twice() {
        [ "$(log --output=json BATON_KIND="$1" | wc -l)" -eq 2 ]
}

insert() {
        sqlite3 "$directory/orders.db" "INSERT INTO outbox (key, type, payload) VALUES ('k', 't', 'payload-$1')"
}

moved() {
        [ "$(sqlite3 "$directory/events.db" 'SELECT count(*) FROM baton_events' 2>/dev/null)" = "$1" ]
}

start
wait_for has BATON_KIND=supervisor-ready
insert 1
wait_for moved 1
owner=$(owner)
[ -n "$owner" ] || fail 'baton status names no owner'
kill -KILL "$owner"
wait_for has BATON_KIND=session-taken-over
mv "$directory/orders.db" "$directory/away.db"
wait_for has BATON_KIND=session-waits
mv "$directory/away.db" "$directory/orders.db"
wait_for has BATON_KIND=session-goes-on
insert 2
wait_for moved 2
sqlite3 "$directory/events.db" "CREATE TRIGGER strict BEFORE INSERT ON baton_events WHEN NEW.payload = 'payload-3'
        BEGIN SELECT RAISE(ABORT, 'not this one'); END"
insert 3
wait_for has BATON_KIND=event-parked BATON_POSITION=3

# A takeover that no supervisor saw is told by the next one, and the one before is not told again.
kill -KILL "$batond"
wait "$batond" 2>/dev/null || true
before=$(owner)
kill -KILL "$before"
wait_for owner_is_not "$before"
start
wait_for has BATON_KIND=segment-adopted
wait_for is_told_twice takeover
wait_for is_told_twice session-taken-over
cp "$directory/baton.conf" "$directory/good.conf"
echo 'nonsense = yes' >>"$directory/baton.conf"
kill -HUP "$batond"
wait_for has BATON_KIND=reload-refused
cp "$directory/good.conf" "$directory/baton.conf"
kill -TERM "$batond"
wait "$batond" || fail "batond ended with $?"
batond=
wait_for has BATON_KIND=supervisor-stopped

# ---- what the journal has ----
life=$(log --output=json BATON_SESSION=orders | sed -n 's/.*"BATON_KIND":"\([a-z-]*\)".*/\1/p' | tr '\n' ' ')
case $life in
*session-owned*session-taken-over*session-waits*session-goes-on*event-parked*) ;;
*) fail "the life of the session orders is told as: $life" ;;
esac

for kind in takeover session-taken-over; do
        is_told_twice $kind || fail "two takeovers, and $kind is not told twice"
done
log --output=json | grep -E '"SYSLOG_IDENTIFIER":"baton(d|-worker)"' >"$directory/lines"
[ "$(wc -l <"$directory/lines")" -gt 10 ] || fail 'there are few lines: this test sees nothing'
! grep -v '"MESSAGE_ID":"[0-9a-f]\{32\}"' "$directory/lines" || fail 'a line has no id'
! grep -v '"BATON_KIND":"[a-z-]*"' "$directory/lines" || fail 'a line has no kind'
! grep -q 'payload-[123]' "$directory/lines" || fail 'a payload stands in the journal'
[ ! -s "$directory/stderr" ] || fail "something was written to stderr: $(cat "$directory/stderr")"

log --catalog --output=short SYSLOG_IDENTIFIER=batond >"$directory/explained"
for words in '^-- Subject: Session orders waits$' '^-- Subject: Session orders was taken over$' '^-- Defined-By: Baton$' \
        '^-- What happened: Its owner is gone\. Worker [01] owns it now' '^-- What to do: '; do
        grep -q "$words" "$directory/explained" || fail "journalctl -x says nothing of \"$words\""
done
[ "$(grep -c '^-- What to do: ' "$directory/explained")" -eq "$(grep -c '"SYSLOG_IDENTIFIER":"batond"' "$directory/lines")" ] ||
        fail 'journalctl -x does not explain every line'
# journalctl puts the name of a field that the line has not in its place.
! grep '^--.*\(@\|BATON_[A-Z_]*\([^A-Z_=]\|$\)\)' "$directory/explained" || fail 'an explanation has a hole'
