#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A sample of `make errors`, evenly spread over variants, phases and roles: a system call of Baton fails, and
# nothing is lost, nothing comes twice, nobody hangs or stops without cause.
set -eu

bin=${BATON_BIN:?is set by make integration}
# LeakSanitizer does not work in a process that is traced.
if ldd "$bin/batond" | grep -qE 'lib(a|t|l)san'; then
        echo "skipped: a sanitized build cannot be traced"
        exit 0
fi
if [ "$(uname -m)" != x86_64 ]; then
        echo "skipped: on this processor calls cannot be made to fail"
        exit 0
fi
exec "$bin/baton-prove" errors --sample 36
