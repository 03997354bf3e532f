#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The kinds of log line agree wherever they stand: the code (base/message.[ch]), the catalogue that `journalctl -x`
# shows, and the table of base/README.md. Ids are valid and unique, each kind is used, each entry explains itself, and
# journalctl compiles the file. Then each of these checks is made to fail, on copies.
# Must not touch: the system's own catalogue.
# shellcheck disable=SC2016 # the quotes of Markdown
set -eu

cd "$(dirname "$0")/../.."
directory=$(mktemp -d "${TMPDIR:-/tmp}/baton-messages.XXXXXX")
trap 'rm -rf "$directory"' EXIT

# name, id of each row of the code, one pair a line
code_rows() {
        sed -n 's/^ *\[MESSAGE_[A-Z_]*\] = { "\([^"]*\)", "\([^"]*\)", [A-Z]*\(, \.is_crowded = true\)\{0,1\} },$/\1 \2/p' "$1"
}

# check CODE HEADER CATALOGUE README: prints what is wrong
check() {
        code=$1 header=$2 catalogue=$3 readme=$4
        code_rows "$code" >"$directory/code"
        [ -s "$directory/code" ] || echo "no row was found in $code: this test sees nothing"

        grep -c '^ *\[MESSAGE_' "$code" | grep -qx "$(wc -l <"$directory/code")" || echo "a row of the code has another form"
        sed -n 's/^ *\[\(MESSAGE_[A-Z_]*\)\] = { "\([^"]*\)".*/\1 \2/p' "$code" |
                awk '{ name = tolower(substr($1, 9)); gsub("_", "-", name); if (name != $2) print $1 " is called " $2 }'
        sed -n 's/^ *\(MESSAGE_[A-Z_]*\),$/\1/p' "$header" >"$directory/constants"
        sed -n 's/^ *\[\(MESSAGE_[A-Z_]*\)\].*/\1/p' "$code" | cmp -s - "$directory/constants" ||
                echo "the rows of the code are not the constants of the header, in their order"

        cut -d ' ' -f 2 "$directory/code" | grep -vxE '[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}' | sed 's/.*/not an id: "&"/'
        cut -d ' ' -f 1 "$directory/code" | sort | uniq -d | sed 's/^/a name that stands twice: /'
        cut -d ' ' -f 2 "$directory/code" | sort | uniq -d | sed 's/^/an id that stands twice: /'

        cut -d ' ' -f 2 "$directory/code" >"$directory/ids"
        sed -n 's/^-- //p' "$catalogue" | cmp -s - "$directory/ids" ||
                echo "the entries of the catalogue are not the rows of the code, in their order"
        check_entries "$catalogue"

        # name, id and subject, as the table has them
        awk 'NR == FNR { name[$2] = $1; next }
             /^-- / { id = $2 }
             /^Subject: / { subject = substr($0, 10); gsub(/ @[A-Z_]*@/, "", subject)
                            print "| `" name[id] "` | `" id "` | " subject " |" }' \
                "$directory/code" "$catalogue" >"$directory/table"
        grep '^| `[a-z-]*` | `[0-9a-f]*` | ' "$readme" | cmp -s - "$directory/table" || {
                echo "the table of $readme differs from code and catalogue:"
                grep '^| `[a-z-]*` | `[0-9a-f]*` | ' "$readme" | diff - "$directory/table" | head -n 10
        }
}

# What an entry must have, once each and in this order; and no line that a terminal would wrap.
check_entries() {
        awk '
        function finish() {
                if (id != "" && order != "SDUWYT")
                        print "entry " id " has not Subject, Defined-By, Support, What happened, Why, What to do: " order
                order = ""
        }
        /^-- / { finish(); id = $2 }
        /^Subject: ./ { order = order "S" }
        /^Defined-By: Baton$/ { order = order "D" }
        /^Support: ./ { order = order "U" }
        /^What happened: ./ { order = order "W" }
        /^Why: ./ { order = order "Y" }
        /^What to do: ./ { order = order "T" }
        length > 80 && !/^#/ { print "a line of entry " id " is longer than 80" }
        END { finish() }' "$1"
        grep -v '^#' "$1" | grep -o '@[A-Za-z_]*@' | sort -u | while read -r field; do
                field=${field#@}
                grep -q "\"${field%@}=%" base/log.c || echo "no line has a field ${field%@}"
        done
}

check_used() {
        while read -r constant; do
                grep -rqw "$constant" supervisor worker base/log.c --include='*.c' || echo "$constant: no line is of this kind"
        done <"$directory/constants"
}

complaints=$(check base/message.c base/message.h packaging/systemd/baton.catalog base/README.md && check_used)
[ -z "$complaints" ] || {
        echo "$complaints"
        exit 1
}
count=$(wc -l <"$directory/code")

# journalctl compiles it, and has every entry.
if command -v journalctl >/dev/null 2>&1; then
        mkdir -p "$directory/root/usr/lib/systemd/catalog" "$directory/root/var/lib/systemd/catalog"
        cp packaging/systemd/baton.catalog "$directory/root/usr/lib/systemd/catalog"
        journalctl --root="$directory/root" --update-catalog >"$directory/output" 2>&1 || {
                echo "journalctl does not compile the catalogue:"
                cat "$directory/output"
                exit 1
        }
        [ ! -s "$directory/output" ] || {
                echo "journalctl has something to say of the catalogue:"
                cat "$directory/output"
                exit 1
        }
        journalctl --root="$directory/root" --list-catalog | cut -d ' ' -f 1 | sort >"$directory/listed"
        sort "$directory/ids" | diff - "$directory/listed" || {
                echo "journalctl lists other entries than the code has"
                exit 1
        }
        id=$(sed -n 's/^session-stopped //p' "$directory/code")
        journalctl --root="$directory/root" --dump-catalog "$id" | grep -q '^Subject: Session @BATON_SESSION@ stopped$' || {
                echo "journalctl does not show the entry of session-stopped"
                exit 1
        }
else
        echo "skipped: there is no journalctl to compile the catalogue"
fi

# must_fail FILE SED-SCRIPT: with the file changed so, check complains
must_fail() {
        for file in base/message.c base/message.h packaging/systemd/baton.catalog base/README.md; do
                if [ "$file" = "$1" ]; then
                        sed "$2" "$file" >"$directory/$(basename "$file")"
                        ! cmp -s "$file" "$directory/$(basename "$file")" || {
                                echo "this changes nothing in $file: $2"
                                exit 1
                        }
                else
                        cp "$file" "$directory/$(basename "$file")"
                fi
        done
        [ -n "$(check "$directory/message.c" "$directory/message.h" "$directory/baton.catalog" "$directory/README.md")" ] || {
                echo "not noticed in $1: $2"
                exit 1
        }
}

id=$(sed -n '2s/.* //p' "$directory/code")
first=$(sed -n '1s/.* //p' "$directory/code")
must_fail base/message.c "s/$id/$first/"
must_fail base/message.c "s/$id/${id%?}G/"
must_fail base/message.c "s/$id/${id%?}/"
must_fail base/message.c "/$id/d"
must_fail base/message.c 's/"session-stopped"/"session-halted"/'
must_fail base/message.c 's/"worker-ended", \("[0-9a-f]*"\), MANY/"worker-ended", \1, 5/'
must_fail base/message.h 's/^ *MESSAGE_RELOADED,$//'
must_fail packaging/systemd/baton.catalog "s/^-- $id/-- ${id%??}00/"
for line in Subject Defined-By Support 'What happened' Why 'What to do'; do
        must_fail packaging/systemd/baton.catalog "/^-- $id/,/^-- /{/^$line: /d}"
done
must_fail packaging/systemd/baton.catalog 's/@BATON_PID@/@BATON_PIT@/'
must_fail packaging/systemd/baton.catalog 's/^Subject: Baton is ready/Subject: Baton is up/'
must_fail base/README.md "/$id/d"
must_fail base/README.md "s/$id/$first/"
echo "$count kinds agree"
