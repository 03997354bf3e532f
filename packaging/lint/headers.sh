#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each header compiles alone, with both compilers, and every file begins with its licence.
set -eu
# shellcheck source=packaging/lint/files.sh
. packaging/lint/files.sh
need gcc
need clang

bad=0
for file in $(c_files '*.h'); do
        for compiler in gcc clang; do
                # shellcheck disable=SC2086,SC2090 # flags are words
                echo "#include \"$file\"" |
                        $compiler $COMPILE_FLAGS -Wall -Wextra -Werror -fsyntax-only -x c - || {
                        echo "$file does not compile alone ($compiler)"
                        bad=1
                }
        done
done
for file in $(c_files '*.[ch]'); do
        [ "$(head -n 1 "$file")" = '/* SPDX-License-Identifier: Apache-2.0 */' ] || {
                echo "$file:1: the first line is not the licence"
                bad=1
        }
        case $(sed -n 2p "$file") in
        '/*'*) ;;
        *)
                echo "$file:2: a comment with the file's purpose is missing"
                bad=1
                ;;
        esac
done
exit $bad
