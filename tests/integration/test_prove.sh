#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `baton prove` as a user has it: installed, somewhere, without the source tree. The parts themselves have
# their tests; here is that they are found, run on the named directory, report, and leave nothing there.
set -eu

cd "$(dirname "$0")/../.."
directory=$(mktemp -d "${TMPDIR:-/tmp}/baton-prove-test.XXXXXX")
trap 'rm -rf "$directory"' EXIT
mkdir -p "$directory/usr/bin" "$directory/usr/lib/baton" "$directory/disk"
cp "$BATON_BIN/baton" "$directory/usr/bin"
for program in batond baton-worker baton-checker baton-prove; do
        cp "$BATON_BIN/$program" "$directory/usr/lib/baton"
done
cp "$BATON_BIN"/baton-*.so "$directory/usr/lib/baton"
baton=$directory/usr/bin/baton
# LeakSanitizer does not work in a process that is traced.
if ldd "$BATON_BIN/batond" | grep -qE 'lib(a|t|l)san'; then
        echo "skipped: a sanitized build cannot be traced"
        exit 0
fi
unset BATON_BIN

fail() {
        echo "test_prove: $1"
        cat "$directory/output"
        exit 1
}

# refused STATUS WORDS ARGUMENT…: that exit code and those words, nothing run
refused() {
        status=$1 words=$2
        shift 2
        "$baton" prove "$@" >"$directory/output" 2>&1 && r=0 || r=$?
        [ "$r" -eq "$status" ] || fail "baton prove $*: exit $r, not $status"
        grep -q -- "$words" "$directory/output" || fail "baton prove $*: says nothing of \"$words\""
        ! grep -q '^==' "$directory/output" || fail "baton prove $*: began"
}
refused 2 'something is missing'
refused 1 'No such file' "$directory/absent"
refused 2 'seconds cannot be' --seconds never "$directory/disk"
refused 2 'seed cannot be' --seed red "$directory/disk"

cd /
"$baton" prove --points 3 --seconds 2 "$directory/disk" >"$directory/output" 2>&1 ||
        fail "did not hold (exit $?)"
for words in 'file system' '^all ' 'torture: held' 'system calls .*held' 'random .*held'; do
        grep -q -- "$words" "$directory/output" || fail "says nothing of \"$words\""
done
[ -z "$(ls -A "$directory/disk")" ] || fail "left $(ls "$directory/disk")"
