/* SPDX-License-Identifier: Apache-2.0 */
/* NBD as qemu speaks it: fixed newstyle handshake, simple replies.
 * Requests are answered in the order in which they come, so a flush covers every write that was answered
 * before it was sent. Must not touch: the image, but through disk.h. */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/powercut/host/nbd.h"

#define REQUEST_BYTES_MAX (32U << 20)
#define OPTION_BYTES_MAX 4096

#define HELLO_MAGIC 0x4e42444d41474943ULL  /* "NBDMAGIC" */
#define OPTION_MAGIC 0x49484156454f5054ULL /* "IHAVEOPT" */
#define OPTION_REPLY_MAGIC 0x3e889045565a9ULL
#define REQUEST_MAGIC 0x25609513U
#define REPLY_MAGIC 0x67446698U

enum { HELLO_FIXED_NEWSTYLE = 1, HELLO_NO_ZEROES = 2 };
enum { OPTION_ABORT = 2, OPTION_INFO = 6, OPTION_GO = 7 };
#define OPTION_ACK 1U
#define OPTION_INFORMATION 3U
#define OPTION_UNSUPPORTED 0x80000001U
enum { EXPORT_HAS_FLAGS = 1, EXPORT_HAS_FLUSH = 4 };
enum { REQUEST_READ = 0, REQUEST_WRITE = 1, REQUEST_LEAVE = 2, REQUEST_FLUSH = 3 };

struct option_header {
        uint64_t magic;
        uint32_t option, length;
} __attribute__((packed));
struct option_reply {
        uint64_t magic;
        uint32_t option, type, length;
} __attribute__((packed));
struct export_information {
        uint16_t type;
        uint64_t bytes;
        uint16_t flags;
} __attribute__((packed));
struct request {
        uint32_t magic;
        uint16_t flags, type;
        uint64_t handle, offset;
        uint32_t length;
} __attribute__((packed));
struct reply {
        uint32_t magic, error;
        uint64_t handle;
} __attribute__((packed));

static int receive(const struct nbd *nbd, void *data, size_t bytes) {
        for (size_t done = 0; done < bytes;) {
                ssize_t n = recv(nbd->fd, (uint8_t *) data + done, bytes - done, MSG_WAITALL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EPIPE;
                done += (size_t) n;
        }
        return 0;
}

static int answer(const struct nbd *nbd, const void *data, size_t bytes) {
        for (size_t done = 0; done < bytes;) {
                ssize_t n = send(nbd->fd, (const uint8_t *) data + done, bytes - done, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                done += (size_t) n;
        }
        return 0;
}

static int make_room(struct nbd *nbd, size_t bytes) {
        uint8_t *larger;

        if (bytes <= nbd->buffer_bytes)
                return 0;
        larger = realloc(nbd->buffer, bytes);
        if (!larger)
                return -ENOMEM;
        nbd->buffer = larger;
        nbd->buffer_bytes = bytes;
        return 0;
}

int nbd_begin(struct nbd *nbd, int fd, struct disk *disk) {
        struct {
                uint64_t magic, option_magic;
                uint16_t flags;
        } __attribute__((packed)) hello = { htobe64(HELLO_MAGIC), htobe64(OPTION_MAGIC),
                                            htobe16(HELLO_FIXED_NEWSTYLE | HELLO_NO_ZEROES) };

        *nbd = (struct nbd){ .fd = fd, .disk = disk };
        return answer(nbd, &hello, sizeof(hello));
}

void nbd_end(struct nbd *nbd) {
        free(nbd->buffer);
        nbd->buffer = NULL;
}

static int option_answer(const struct nbd *nbd, uint32_t option, uint32_t type, const void *data,
                         uint32_t bytes) {
        struct option_reply reply = { htobe64(OPTION_REPLY_MAGIC), htobe32(option), htobe32(type),
                                      htobe32(bytes) };
        int r = answer(nbd, &reply, sizeof(reply));

        return r < 0 || bytes == 0 ? r : answer(nbd, data, bytes);
}

/* The client's flags come once, as four bytes before its first option. */
static int serve_option(struct nbd *nbd) {
        struct export_information information = { 0, htobe64(nbd->disk->bytes),
                                                  htobe16(EXPORT_HAS_FLAGS | EXPORT_HAS_FLUSH) };
        struct option_header header;
        uint32_t flags, option;
        int r = nbd->is_greeted ? 0 : receive(nbd, &flags, sizeof(flags));

        nbd->is_greeted = true;
        if (r == 0)
                r = make_room(nbd, OPTION_BYTES_MAX);
        if (r == 0)
                r = receive(nbd, &header, sizeof(header));
        if (r < 0)
                return r;
        option = be32toh(header.option);
        if (be64toh(header.magic) != OPTION_MAGIC || be32toh(header.length) > nbd->buffer_bytes)
                return -EPROTO;
        r = receive(nbd, nbd->buffer, be32toh(header.length));
        if (r < 0 || option == OPTION_ABORT)
                return r < 0 ? r : -EPIPE;
        if (option != OPTION_GO && option != OPTION_INFO)
                return option_answer(nbd, option, OPTION_UNSUPPORTED, NULL, 0);
        r = option_answer(nbd, option, OPTION_INFORMATION, &information, sizeof(information));
        if (r == 0)
                r = option_answer(nbd, option, OPTION_ACK, NULL, 0);
        nbd->is_agreed = r == 0 && option == OPTION_GO;
        return r;
}

static bool is_cut_in(const struct nbd *nbd, uint16_t type, enum nbd_cut cut) {
        if (cut == NBD_CUT_AT_FLUSH)
                return type == REQUEST_FLUSH && nbd->disk->cache_count >= 2;
        return cut == NBD_CUT_NOW && (type == REQUEST_WRITE || type == REQUEST_FLUSH);
}

/* What stands in the request is done; 0 or -errno. A read has nothing to do but its answer. */
static int carry_out(struct nbd *nbd, uint16_t type, uint64_t offset, uint32_t length) {
        switch (type) {
        case REQUEST_READ:
                return disk_holds(nbd->disk, offset, length) ? 0 : -EINVAL;
        case REQUEST_WRITE:
                return disk_holds(nbd->disk, offset, length)
                               ? disk_write(nbd->disk, offset, nbd->buffer, length)
                               : -EINVAL;
        case REQUEST_FLUSH:
                disk_flush(nbd->disk);
                return 0;
        default:
                return -EINVAL;
        }
}

static int serve_request(struct nbd *nbd, const struct request *request, enum nbd_cut cut) {
        uint64_t offset = be64toh(request->offset);
        uint32_t length = be32toh(request->length);
        uint16_t type = be16toh(request->type);
        bool is_cut = is_cut_in(nbd, type, cut);
        struct reply reply = { htobe32(REPLY_MAGIC), 0, request->handle };
        int r = 0;

        if (type == REQUEST_LEAVE)
                return -EPIPE;
        if (length > REQUEST_BYTES_MAX)
                return -EPROTO;
        if (type == REQUEST_WRITE)
                r = make_room(nbd, length);
        if (type == REQUEST_WRITE && r == 0)
                r = receive(nbd, nbd->buffer, length);
        if (r < 0)
                return r;
        if (!is_cut || type == REQUEST_WRITE)
                reply.error = htobe32((uint32_t) -carry_out(nbd, type, offset, length));
        if (is_cut)
                return -ECANCELED;
        r = answer(nbd, &reply, sizeof(reply));
        if (r == 0 && type == REQUEST_READ && reply.error == 0)
                r = answer(nbd, nbd->disk->seen + offset, length);
        return r;
}

int nbd_serve(struct nbd *nbd, enum nbd_cut cut) {
        struct request request;
        int r;

        if (!nbd->is_agreed)
                return serve_option(nbd);
        r = receive(nbd, &request, sizeof(request));
        if (r < 0)
                return r;
        if (be32toh(request.magic) != REQUEST_MAGIC)
                return -EPROTO;
        return serve_request(nbd, &request, cut);
}
