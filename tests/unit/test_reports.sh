#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A sanitizer's report in a process that was killed, of a test that passed, must still fail the run: asks
# tests/run.sh, with a program whose faults are planted. Without a sanitizer there is nothing to see.
set -eu

planted=${BATON_BIN:?is set by make unit}/../tests/planted
directory=$(mktemp -d "${TMPDIR:-/tmp}/baton-reports.XXXXXX")
trap 'rm -rf "$directory"' EXIT

cat >"$directory/kills.sh" <<END
#!/bin/sh
"$planted" "\$PLANTED" || exit 0
END
chmod +x "$directory/kills.sh"

PLANTED=nothing tests/run.sh "$directory/kills.sh" >"$directory/output" || {
        echo "a program that reports nothing fails:"
        cat "$directory/output"
        exit 1
}
for kind in $("$planted"); do
        if PLANTED=$kind tests/run.sh "$directory/kills.sh" >"$directory/output"; then
                echo "tests/run.sh did not see the planted fault: $kind"
                exit 1
        fi
        grep -q "plant_$kind\|race" "$directory/output" || {
                echo "tests/run.sh does not show the report of $kind:"
                cat "$directory/output"
                exit 1
        }
done
