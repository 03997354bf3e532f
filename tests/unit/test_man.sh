#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The manual pages say what is: commands, options, exit codes, keys, options of URLs with their ranges and defaults are
# compared, in both directions, with what the programs print from the tables that they use; variables of the environment
# with those that the sources ask for. And man has nothing to say against them.
set -eu

cd "$(dirname "$0")/../.."
directory=$(mktemp -d "${TMPDIR:-/tmp}/baton-man.XXXXXX")
trap 'rm -rf "$directory"' EXIT
baton=${BATON_BIN:?is set by make unit}/baton
LC_ALL=C.UTF-8
export LC_ALL

command -v man >/dev/null 2>&1 || {
        echo "man is not installed: packaging/install-deps.sh test"
        exit 1
}

# same WHAT PROGRAM PAGE: two files of lines; those of the program, at least three, and those of the page
same() {
        sort -u "$2" -o "$2"
        sort -u "$3" -o "$3"
        [ "$(wc -l <"$2")" -ge 3 ] || {
                echo "$1: the program tells of too little, so this test sees nothing:"
                cat "$2"
                exit 1
        }
        diff "$2" "$3" >"$directory/diff" || {
                echo "$1 (<: the program, >: the page):"
                cat "$directory/diff"
                exit 1
        }
}

# page FILE: its text without escapes and font changes, one line for each of the source
page() {
        sed -e '/^\.\\"/d' -e 's/\\f[RBIP]//g' -e 's/\\-/-/g' -e 's/\\(aq/'"'"'/g' "packaging/man/$1"
}

for file in packaging/man/*.[0-9]; do
        man --warnings -E UTF-8 -l -Tutf8 -Z "$file" >/dev/null 2>"$directory/warnings"
        [ ! -s "$directory/warnings" ] || {
                cat "$directory/warnings"
                exit 1
        }
done

# Commands, each with its options (the lines between its heading and the next paragraph).
"$baton" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]* \{0,1\}[a-z]*\)  .*/\1/p' | sed 's/ *$//' >"$directory/commands"
page baton.1 | sed -n '/^\.SH COMMANDS/,/^\.SH OPTIONS/s/^\.SS "\{0,1\}\([a-z ]*[a-z]\)"\{0,1\}$/\1/p' >"$directory/headings"
same 'commands in baton(1)' "$directory/commands" "$directory/headings"
while read -r command; do
        [ "$command" != help ] || continue
        # shellcheck disable=SC2086 # words
        "$baton" help $command | sed -n '/^Options:/,/^$/s/^  .*--\([a-z]*\) .*/\1/p' | grep -vx help |
                sed "s/^/$command: /"
done <"$directory/commands" >"$directory/options"
page baton.1 | awk '
        /^\.SS/ { command = $0; sub(/^\.SS "?/, "", command); sub(/"$/, "", command); is_synopsis = 1; next }
        /^\.PP/ || /^\.SH/ { is_synopsis = 0 }
        is_synopsis && match($0, /--[a-z]+/) { print command ": " substr($0, RSTART + 2, RLENGTH - 2) }
        is_synopsis && /\[ -c/ { print command ": config" }' >"$directory/synopses"
same 'options of commands in baton(1)' "$directory/options" "$directory/synopses"
{
        sed 's/^.*: //' "$directory/options"
        printf 'help\nversion\n'
} >"$directory/all"
page baton.1 | sed -n '/^\.SH OPTIONS/,/^\.SH "EXIT/p' | grep --no-group-separator -A 1 '^\.TP' | grep -o -- '--[a-z]*' | sed 's/^--//' \
        >"$directory/entries"
same 'OPTIONS in baton(1)' "$directory/all" "$directory/entries"
"$BATON_BIN/batond" --help | sed -n 's/^  .*--\([a-z]*\) .*/\1/p' >"$directory/all"
page batond.8 | sed -n '/^\.SH OPTIONS/,/^\.SH SIGNALS/p' | grep --no-group-separator -A 1 '^\.TP' | grep -o -- '--[a-z]*' | sed 's/^--//' \
        >"$directory/entries"
same 'OPTIONS in batond(8)' "$directory/all" "$directory/entries"

# Exit codes. 130 is no row of the table: it is said by a signal.
{
        "$baton" help | sed -n '/^Exit codes:/,$s/^  \([0-9]*\)  .*/\1/p'
        echo 130
} >"$directory/all"
page baton.1 | sed -n '/^\.SH "EXIT STATUS"/,/^\.SH ENV/s/^\.B \([0-9]*\)$/\1/p' >"$directory/entries"
same 'EXIT STATUS in baton(1)' "$directory/all" "$directory/entries"

# Keys of the configuration and options of URLs: "SECTION | KEY | DEFAULT | RANGE", as `baton help check` has them.
"$baton" help check | awk '
        /^(Section|Source|Destination) / {
                section = $0
                sub(/[,:] .*/, "", section)
                next
        }
        /^[A-Z]/ || /^$/ { section = "" }
        section != "" {
                value = $0
                range = ""
                if (match(value, /\(default [^()]*\)/))
                        value = substr(value, RSTART + 9, RLENGTH - 10)
                else
                        value = index($0, "(must be given)") ? "must be given" : "nothing"
                if (match($0, /; [0-9a-zA-Z]+ (to|or) [0-9a-zA-Z]+ \(/) && section ~ /^Section/)
                        range = substr($0, RSTART + 2, RLENGTH - 4)
                if (match($0, /one of .*/))
                        range = substr($0, RSTART + 7)
                print section " | " $1 " | " value " | " range
        }' >"$directory/keys"
# An entry of the page says "default X" or "must be given", and its range in the same words.
page baton.conf.5 | sed 's/^\.[BI]R\{0,1\} //' | awk -v keys="$directory/keys" '
        BEGIN {
                while ((getline line < keys) > 0) {
                        split(line, part, " \\| ")
                        ranges[part[1] " | " part[2]] = part[4]
                }
        }
        function tell() {
                if (key == "")
                        return
                gsub(/[ ,]+/, " ", text)
                value = "nothing"
                if (index(text, "must be given"))
                        value = "must be given"
                else if (match(text, /default [0-9A-Za-z_]+/))
                        value = substr(text, RSTART + 8, RLENGTH - 8)
                range = ranges[section " | " key]
                plain = range
                gsub(/,/, "", plain)
                split(plain, word, " ")
                for (i in word)
                        if (!index(" " text " ", word[i]))
                                range = "(its range says nothing of " word[i] ")"
                print section " | " key " | " value " | " range
                key = ""
        }
        /^\.SS/ || /^\.SH/ || /^\.PP/ {
                tell()
                if ($0 !~ /^\.PP/) {
                        section = $0
                        sub(/^\.S[SH] "?/, "", section)
                        sub(/"$/, "", section)
                }
                next
        }
        /^\.TP/ && section ~ /^(Section|Source|Destination)/ {
                tell()
                getline key
                text = ""
                next
        }
        { text = text " " $0 }
        END { tell() }' >"$directory/entries"
same 'keys in baton.conf(5)' "$directory/keys" "$directory/entries"

# The environment: what the product's sources ask for. BATON_CRASH is there in a build with crash points alone.
grep -rhoE '(getenv|program)\("[A-Z_]+"|"BATON_[A-Z]+"|"[A-Z]+_DIRECTORY"' base shm worker supervisor --include='*.c' |
        grep -oE '"[A-Z_]+"' | tr -d '"' | grep -vxE 'BATON_(CRASH|VERSION|COMMAND)' >"$directory/all"
for name in baton.1 batond.8; do
        page $name | sed -n '/^\.SH ENVIRONMENT/,/^\.SH FILES/p' | grep --no-group-separator -A 1 '^\.TP' | grep -oE '[A-Z_]{4,}'
done >"$directory/entries"
same 'ENVIRONMENT in baton(1) and batond(8)' "$directory/all" "$directory/entries"
