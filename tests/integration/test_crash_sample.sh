#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A sample of `make crash`, evenly spread over variants, phases and roles: processes of Baton are killed at
# system calls, recover, and the destination is judged. Prints the table only where something did not hold.
set -eu

bin=${BATON_BIN:?is set by make integration}
# LeakSanitizer does not work in a process that is traced.
if ldd "$bin/batond" | grep -qE 'lib(a|t|l)san'; then
        echo "skipped: a sanitized build cannot be traced"
        exit 0
fi
exec "$bin/baton-prove" crash --sample 90
