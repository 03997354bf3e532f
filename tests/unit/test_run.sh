#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/run.sh says at its end what a script has summed up, and what was not tested and why; of one that failed it shows
# all that was said.
set -eu

directory=$(mktemp -d "${TMPDIR:-/tmp}/baton-run.XXXXXX")
trap 'rm -rf "$directory"' EXIT

script() {
        printf '#!/bin/sh\n%s\n' "$2" >"$directory/$1.sh"
        chmod +x "$directory/$1.sh"
}
fail() {
        echo "$1:"
        cat "$directory/output"
        exit 1
}
script sums 'echo chatter; echo "[SUMMARY] moon: 3 steps held"'
script skips 'echo "[SKIP] sun: needs a telescope"'
script fails 'echo "[SUMMARY] mars: all held"; echo "what the guest said"; exit 1'

tests/run.sh "$directory/sums.sh" "$directory/skips.sh" >"$directory/output" || fail 'two that pass fail'
tail -3 "$directory/output" | grep -qx 'moon: 3 steps held' || fail 'the summary is not told at the end'
tail -3 "$directory/output" | grep -qx 'not tested: sun: needs a telescope' || fail 'what was skipped is not told at the end'
! grep -q chatter "$directory/output" || fail 'one that passed is quoted'
! tests/run.sh "$directory/fails.sh" >"$directory/output" || fail 'one that fails passes'
grep -q 'what the guest said' "$directory/output" || fail 'one that failed is not quoted'
! tail -2 "$directory/output" | grep -q '^mars: all held' || fail 'one that failed has a say in the summary'
