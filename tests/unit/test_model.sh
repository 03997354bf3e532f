#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The model of the protocol, in small: it names what the code has, it holds, and faults planted in it are found.
# `make model` searches the larger ones.
set -eu

command -v spin >/dev/null 2>&1 || {
        echo "spin is not installed: packaging/install-deps.sh test"
        exit 1
}
exec "$(dirname "$0")/../model/model.sh" quick
