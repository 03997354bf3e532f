#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The busctl commands of batond(8) and of packaging/systemd/README.md, run as they stand there, but for the runtime
# directory: on a bus of the test's own with the policy that is installed, and at the control socket.
set -eu

cd "$(dirname "$0")/../.."
for tool in busctl dbus-daemon; do
        command -v "$tool" >/dev/null 2>&1 || {
                echo "[SKIP] test_busctl: there is no $tool here (packaging/install-deps.sh systemd)"
                exit 0
        }
done
directory=$(mktemp -d "${TMPDIR:-/tmp}/baton-busctl.XXXXXX")
bus='' supervisor=''
end() {
        [ -z "$supervisor" ] || kill "$supervisor" 2>/dev/null || true
        [ -z "$bus" ] || kill "$bus" 2>/dev/null || true
        wait
        rm -rf "$directory"
}
trap end EXIT
: "${BATON_BIN:?is set by make integration}"

fail() {
        echo "test_busctl: $1"
        cat "$directory/output" "$directory/log"
        exit 1
}

# What a system bus forbids is forbidden; the policy's user is the one who runs this.
sed "s/user=\"baton\"/user=\"$(id -un)\"/" packaging/dbus/org.baton.conf >"$directory/org.baton.conf"
cat >"$directory/bus.conf" <<END
<busconfig><type>system</type><listen>unix:path=$directory/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/>
<allow receive_type="signal"/><allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
</policy><include>$directory/org.baton.conf</include></busconfig>
END
: >"$directory/output"
dbus-daemon --config-file="$directory/bus.conf" --nofork --nopidfile --nosyslog >"$directory/log" 2>&1 &
bus=$!
export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$directory/bus"

cat >"$directory/baton.conf" <<END
[baton]
bus-name = org.baton
[destination events]
url = sqlite:$directory/events.db
workers = 1
END
"$BATON_BIN/batond" -c "$directory/baton.conf" --state "$directory/state" --runtime "$directory/run" >>"$directory/log" 2>&1 &
supervisor=$!
waited=0
until grep -q 'org.baton is on the system bus' "$directory/log"; do
        waited=$((waited + 1))
        [ "$waited" -le 300 ] || fail 'it never has its name'
        sleep 0.1
done

grep -h '^ *busctl ' packaging/man/batond.8 packaging/systemd/README.md | sed 's/\\-/-/g' | sort -u >"$directory/commands"
[ "$(wc -l <"$directory/commands")" -ge 5 ] || fail 'the pages name too few commands: this test sees nothing'
while read -r command; do
        command=$(echo "$command" | sed "s,/run/baton/control,$directory/run/control,")
        sh -c "$command --no-pager" >"$directory/output" 2>&1 || fail "$command: exit $?"
        case $command in
        *introspect*)
                for words in '^\.Scale  *method  *su ' '^\.Upgrade ' '^\.Version  *property  *s  *"[0-9.]*" '; do
                        grep -q "$words" "$directory/output" || fail "$command does not show $words"
                done
                ;;
        *Ping*) grep -q "^us $supervisor \"" "$directory/output" || fail "$command was answered by another" ;;
        *Version) grep -q '^s "[0-9.]*"$' "$directory/output" || fail "$command: no version" ;;
        esac
done <"$directory/commands"
"$BATON_BIN/baton" status --runtime "$directory/run" >"$directory/output" || true
grep -q ' of 2 workers' "$directory/output" || fail 'Scale was not heard'
"$BATON_BIN/baton" doctor -c "$directory/baton.conf" --state "$directory/state" --runtime "$directory/run" >"$directory/output" || true
grep -q '^ok   bus name  *org.baton is the supervisor$' "$directory/output" || fail 'doctor does not see the name'
kill "$bus"
wait "$bus" || true
bus=
"$BATON_BIN/baton" doctor -c "$directory/baton.conf" --state "$directory/state" --runtime "$directory/run" >"$directory/output" || true
grep -q '^bad  bus name  *bus-name = org.baton, and the system bus cannot be reached' "$directory/output" ||
        fail 'doctor does not miss the bus'
