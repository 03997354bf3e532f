#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Completion for bash: sourced, and asked as bash asks. Commands and options are compared with `baton help`; names come
# from a configuration, and from a `baton status --json` that a stand-in prints (the format is held by
# test_cli_view.c and by the last part here, where nothing runs).
set -euo pipefail

cd "$(dirname "$0")/../.."
directory=$(mktemp -d "${TMPDIR:-/tmp}/baton-completion.XXXXXX")
trap 'rm -rf "$directory"' EXIT
real=${BATON_BIN:?is set by make unit}/baton
# A Baton that runs on this machine is not asked for its names.
export RUNTIME_DIRECTORY=$directory/none STATE_DIRECTORY=$directory/none
# shellcheck source=packaging/completion/baton
. packaging/completion/baton

# complete_line WORD…: the last word is the one at the cursor; "=" is a word of its own, as bash cuts lines.
complete_line() {
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        COMPREPLY=()
        _baton >"$directory/output" 2>&1 || true
        [ ! -s "$directory/output" ] || fail "$*: wrote $(cat "$directory/output")"
}
fail() {
        echo "test_completion: $1"
        exit 1
}

# expect WANTED WORD…: exactly these, in any order
expect() {
        wanted=$(tr ' ' '\n' <<<"$1" | sort)
        shift
        complete_line "$@"
        got=$(printf '%s\n' ${COMPREPLY[@]+"${COMPREPLY[@]}"} | sort)
        [ "$got" = "$wanted" ] || fail "baton ${*:2}: offers \"${got//$'\n'/ }\", not \"${wanted//$'\n'/ }\""
}

# Every command and every option, as the program itself lists them.
first_words=$("$real" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort -u)
[ "$(wc -l <<<"$first_words")" -ge 10 ] || fail "baton help lists too few commands: $first_words"
expect "$first_words"$'\n--help\n--version' "$real" ''
expect "$first_words" "$real" help ''
for command in $first_words; do
        [ "$command" != help ] || continue
        words=("$command")
        second=$("$real" help | sed -n "s/^  $command \([a-z]*\) .*/\1/p")
        if [ -n "$second" ]; then
                expect "$second" "$real" "$command" ''
                expect "$second" "$real" help "$command" ''
                words+=("$(head -n 1 <<<"$second")")
        fi
        options=$("$real" help "${words[@]}" | sed -n '/^Options:/,/^$/s/^  .*\(--[a-z]*\) .*/\1/p')
        expect "$options" "$real" "${words[@]}" --
done
expect 'status' "$real" stat
expect 'check' "$real" journal ch
expect '' "$real" nonsense ''
expect '' "$real" status ''

# Names out of a configuration and its drop-ins, while nothing runs.
mkdir "$directory/one.conf.d" "$directory/room"
cat >"$directory/one.conf" <<'END'
# [destination commented]
[baton]
[destination events]
url = sqlite:/nowhere/events.db ; the first
[ destination  archive ]
url = file:/nowhere
[source orders]
url = sqlite:/nowhere/orders.db
to = events, archive ; both
END
printf '[source payments]\nto=events\n' >"$directory/one.conf.d/more.conf"
printf '[source left-out]\nto=events\n' >"$directory/one.conf.d/more.off"
given=(-c "$directory/one.conf")
expect 'orders/events orders/archive payments' "$real" verify "${given[@]}" ''
expect 'orders/events orders/archive' "$real" verify "${given[@]}" ord
expect 'payments' "$real" verify --config = "$directory/one.conf" orders/events pay
expect 'orders/events' "$real" verify --state "$directory" "${given[@]}" orders/e

# Files and directories.
touch "$directory/one.db"
expect "$directory/one.conf $directory/one.conf.d $directory/one.db" "$real" outbox create "$directory/one"
expect "$directory/room" "$real" prove "$directory/r"
expect "$directory/room" "$real" run --state "$directory/r"
expect "$directory/room" "$real" run --state = "$directory/r"
expect "$directory/one.conf.d" "$real" check -c "$directory/one.conf."

# Names of what runs: sessions, destinations; workers, where a command should take one.
cat >"$directory/baton" <<'END'
#!/bin/sh
case "$1 ${2:-}" in
"help ") printf 'Commands:\n  adopt          x\n  move           x\n  scale          x\n\n' ;;
"help adopt") printf 'Usage: baton adopt [OPTIONS] SESSION\n\nOptions:\n      --runtime DIR    x\n\n' ;;
"help scale") printf 'Usage: baton scale [OPTIONS] DESTINATION N\n\nOptions:\n      --runtime DIR    x\n\n' ;;
"help move") printf 'Usage: baton move [OPTIONS] SESSION WORKER\n\nOptions:\n      --runtime DIR    x\n\n' ;;
"status --json")
        [ "${3:-} ${4:-}" = "--runtime /run/other" ] && name=far || name=near
        cat <<JSON
{
  "destinations": [
    {
      "destination": "$name-destination",
      "workers": [
        {
          "worker": 10,
          "state": "active"
        },
        {
          "worker": 2,
          "state": "active"
        }
      ],
      "sessions": [
        {
          "session": "$name-session",
          "reason": "a reason with \"session\": \"none\", in it",
          "worker": 2
        },
        {
          "session": "other/session",
          "worker": null
        }
      ]
    }
  ]
}
JSON
        exit 4
        ;;
esac
END
chmod +x "$directory/baton"
expect 'near-session other/session' "$directory/baton" adopt ''
expect '' "$directory/baton" adopt near-session ''
expect 'far-session other/session' "$directory/baton" adopt --runtime /run/other ''
expect 'far-session' "$directory/baton" adopt --runtime = /run/other far
expect 'near-destination' "$directory/baton" scale ''
expect '' "$directory/baton" scale near-destination ''
expect '2 10' "$directory/baton" move near-session ''

# And of the real one, while nothing runs: nothing, and no word about it (complete_line looks).
expect '' "$real" adopt --runtime "$directory/room" ''
complete -p baton | grep -q '_baton' || fail "bash does not know of it"
