#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The example of a configuration works as it stands, but for where its files are, and names every key with the default
# that it has. The configuration that the package begins with moves nothing, and is understood; so is what it proposes.
set -eu

cd "$(dirname "$0")/../.."
directory=$(mktemp -d "${TMPDIR:-/tmp}/baton-example.XXXXXX")
trap 'rm -rf "$directory"' EXIT
baton=${BATON_BIN:?is set by make unit}/baton

fail() {
        echo "test_example: $1"
        cat "$directory/output"
        exit 1
}

# below ROOT: standard input, with its files below ROOT
below() {
        sed "s|^\(;*url = [a-z]*:\)/|\1$1/|"
}
# check NAME: `baton check` takes it
check() {
        "$baton" check -c "$directory/$1" --state "$directory/var/lib/baton" >"$directory/output" 2>&1 ||
                fail "$1 is refused"
}
# says NAME WORDS…: and prints each of these
says() {
        check "$1"
        shift
        for words in "$@"; do
                grep -q -- "$words" "$directory/output" || fail "check says nothing of \"$words\""
        done
}

mkdir -p "$directory/var/lib/baton/archive" "$directory/srv/shop" "$directory/srv/pay"
"$baton" outbox create "$directory/srv/shop/orders.db" >/dev/null
sqlite3 "$directory/srv/pay/payments.db" \
        'PRAGMA journal_mode = WAL; CREATE TABLE events_out (id INTEGER PRIMARY KEY AUTOINCREMENT, account, kind, created, body)' \
        >/dev/null
below "$directory" <packaging/examples/baton.conf >"$directory/example.conf"
says example.conf '^session orders/events: .*exactly-once' '^session orders/archive: .*exactly-once' \
        '^session payments: .*exactly-once'

# The defaults that it shows: every key of the table stands in it, a commented one with its default.
"$baton" help check | sed -n '/^Section/,/^Source/s/^  \([a-z-]*\) .*(\(default \)\{0,1\}\([^()]*\))$/\1 \3/p' >"$directory/keys"
[ "$(wc -l <"$directory/keys")" -ge 14 ] || fail "baton help check lists too few keys"
while read -r key default; do
        grep -q "^;\{0,1\}$key *=" packaging/examples/baton.conf || fail "the example has no $key"
        ! grep "^;$key *=" packaging/examples/baton.conf | grep -v "= $default\$" || fail "$key is $default by default"
done <"$directory/keys"
sed 's/^;\([a-z-]* = \)/\1/' "$directory/example.conf" | sed 's/^workers = 1$/workers = 2/' >"$directory/all.conf"
check all.conf

# What the package begins with.
cp packaging/baton.conf "$directory/packaged.conf"
says packaged.conf 'names no source: there is nothing to move'
below "$directory" <packaging/baton.conf | sed 's/^;//' >"$directory/proposed.conf"
says proposed.conf '^session orders: .*exactly-once'
