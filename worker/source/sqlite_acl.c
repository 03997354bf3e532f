/* SPDX-License-Identifier: Apache-2.0 */
/* The default entries of a directory, in the form in which the kernel hands them out (linux/posix_acl_xattr.h): a
 * version, and entries of tag, rights and id, all little-endian. The bytes come from a disk: counted, and what is not
 * understood grants nothing. Must not touch: anything; it reads an extended attribute. */
#include "worker/source/sqlite_acl.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/macro.h"

#define ACL_VERSION 2u
#define ACL_ENTRIES_MAX 512u
#define ACL_USER 0x02u
#define ACL_MASK 0x10u
#define ACL_READ_WRITE 06u

struct acl_entry {
        uint16_t tag, rights;
        uint32_t id;
};

struct acl {
        uint32_t version;
        struct acl_entry entries[ACL_ENTRIES_MAX];
};

/* Without a mask entry there is no named user either; without the user's entry nothing is said of it. */
bool acl_default_lets(const char *directory, uid_t user) {
        bool user_may = false, mask_lets = false;
        struct acl acl;
        ssize_t bytes;

        assert(directory);

        bytes = getxattr(directory, "system.posix_acl_default", &acl, sizeof(acl));
        if (bytes < (ssize_t) sizeof(acl.version) || le32toh(acl.version) != ACL_VERSION)
                return false;
        for (size_t i = 0; i < ((size_t) bytes - sizeof(acl.version)) / sizeof(struct acl_entry); i++) {
                const struct acl_entry *entry = &acl.entries[i];
                const bool grants = (le16toh(entry->rights) & ACL_READ_WRITE) == ACL_READ_WRITE;

                user_may |= grants && le16toh(entry->tag) == ACL_USER && le32toh(entry->id) == user;
                mask_lets |= grants && le16toh(entry->tag) == ACL_MASK;
        }
        return user_may && mask_lets;
}
