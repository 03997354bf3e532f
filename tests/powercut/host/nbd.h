/* SPDX-License-Identifier: Apache-2.0 */
/* The wire between qemu and the disk: the part of the NBD protocol that qemu's client speaks. It writes,
 * reads and flushes; it is told that there is a write cache, and no more (no FUA, no trim, no zeroing).
 * Must not touch: the image, but through disk.h. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "tests/powercut/host/disk.h"

struct nbd {
        int fd;
        struct disk *disk;
        bool is_greeted, is_agreed; /* the client's flags came; the handshake is done */
        uint8_t *buffer;
        size_t buffer_bytes;
};

/* Says hello on the socket; the socket and the disk stay the caller's. */
int nbd_begin(struct nbd *nbd, int fd, struct disk *disk);
void nbd_end(struct nbd *nbd);
#define _cleanup_nbd_ _cleanup_(nbd_end)

/* When the power goes: in the midst of the next write or flush, or of the next flush that finds two writes
 * or more. The write is then in the cache, the flush is not done, and neither is answered. */
enum nbd_cut { NBD_CUT_NOT = 0, NBD_CUT_NOW, NBD_CUT_AT_FLUSH };

/* Answers one option or one request; call when the socket is readable. 0; -ECANCELED: the power went in
 * it; -EPIPE: the peer left; other -errno. */
int nbd_serve(struct nbd *nbd, enum nbd_cut cut);
