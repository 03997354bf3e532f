/* SPDX-License-Identifier: Apache-2.0 */
/* The version, once: the programs print it, `make install` writes it into baton.pc, and the package's changelog
 * must name it (tests/unit/test_version.sh). packaging/deb.sh reads the line below as it stands. */
#pragma once

#define BATON_VERSION "0.1"
