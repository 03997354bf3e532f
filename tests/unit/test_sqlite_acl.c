/* SPDX-License-Identifier: Apache-2.0 */
/* M12: default entries of a directory that let the application open what we make there. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/macro.h"
#include "worker/source/sqlite_acl.h"

#define OWNER 1001u

static char directory[64];

static void begin(void) {
        (void) snprintf(directory, sizeof(directory), "/tmp/baton-acl-XXXXXX");
        cr_assert_not_null(mkdtemp(directory));
}

static void end(void) {
        (void) rmdir(directory);
}

TestSuite(sqlite_acl, .init = begin, .fini = end);

/* user::rwx, user:OWNER:rights, group::r-x, mask::mask, other::--- */
static void set(uint16_t rights, uint16_t mask) {
        const struct {
                uint32_t version;
                struct {
                        uint16_t tag, rights;
                        uint32_t id;
                } entries[5];
        } acl = { htole32(2),
                  { { htole16(0x01), htole16(7), UINT32_MAX },
                    { htole16(0x02), htole16(rights), htole32(OWNER) },
                    { htole16(0x04), htole16(5), UINT32_MAX },
                    { htole16(0x10), htole16(mask), UINT32_MAX },
                    { htole16(0x20), htole16(0), UINT32_MAX } } };

        if (setxattr(directory, "system.posix_acl_default", &acl, sizeof(acl), 0) < 0 && errno == EOPNOTSUPP)
                cr_skip("this file system has no access control lists");
}

Test(sqlite_acl, M12_a_named_user_with_both_rights_may) {
        set(7, 7);
        cr_assert(acl_default_lets(directory, OWNER));
        cr_assert_not(acl_default_lets(directory, OWNER + 1), "another one may not");
        set(6, 6);
        cr_assert(acl_default_lets(directory, OWNER));
}

Test(sqlite_acl, M12_less_is_not_enough) {
        set(4, 7);
        cr_assert_not(acl_default_lets(directory, OWNER), "reading alone");
        set(7, 4);
        cr_assert_not(acl_default_lets(directory, OWNER), "the mask takes it away");
}

Test(sqlite_acl, M12_none_are_none) {
        cr_assert_not(acl_default_lets(directory, OWNER));
        cr_assert_not(acl_default_lets("/nonexistent", OWNER));
}
