#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every shell script passes shellcheck, those of the package and the completion, too.
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh
need shellcheck

find .ci packaging prove tests -type f \( -name '*.sh' -o -path '.ci/run' -o -path 'packaging/completion/*' \
        -o -name '*.preinst' -o -name '*.postinst' -o -name '*.prerm' -o -name '*.postrm' \) -exec shellcheck -x {} +
