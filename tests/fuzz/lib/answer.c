/* SPDX-License-Identifier: Apache-2.0 */
/* See answer.h. Must not touch: a socket outside of the place. */
#include "tests/fuzz/lib/answer.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "base/macro.h"
#include "supervisor/control.h"
#include "supervisor/socket.h"
#include "tests/fuzz/lib/fake_process.h"

int __real_sd_bus_wait(sd_bus *bus, uint64_t timeout_usec);
int __wrap_sd_bus_wait(sd_bus *bus, uint64_t timeout_usec);

/* ---- bytes ------------------------------------------------------------------------------------------------ */
static void put(struct answer *answer, const void *data, size_t bytes) {
        bytes = MIN_OF(bytes, sizeof(answer->bytes) - answer->used);
        if (bytes > 0)
                memcpy(answer->bytes + answer->used, data, bytes);
        answer->used += bytes;
}

static void put_u8(struct answer *answer, uint8_t value) {
        put(answer, &value, sizeof(value));
}

static void put_u32(struct answer *answer, uint32_t value) {
        put(answer, &value, sizeof(value));
}

/* Offsets count from the beginning of the message. */
static void pad(struct answer *answer, size_t begin, size_t alignment) {
        while ((answer->used - begin) % alignment != 0 && answer->used < sizeof(answer->bytes))
                put_u8(answer, 0);
}

static void put_text(struct answer *answer, const char *text) {
        put_u32(answer, (uint32_t) strlen(text));
        put(answer, text, strlen(text) + 1);
}

/* A field of the header, up to its value: its code and the type of the variant. */
static void put_field(struct answer *answer, size_t begin, uint8_t code, char type) {
        pad(answer, begin, 8);
        put_u8(answer, code);
        put_u8(answer, 1);
        put_u8(answer, (uint8_t) type);
        put_u8(answer, 0);
}

void answer_put_raw(struct answer *answer, struct input *input, size_t bytes) {
        const uint8_t *data;

        bytes = input_bytes(input, bytes, &data);
        put(answer, data, bytes);
}

void answer_put_authentication(struct answer *answer) {
        static const char text[] = "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n";

        put(answer, text, strlen(text));
}

/* ---- one message --------------------------------------------------------------------------------------------- */
#define MESSAGE_RETURN 2
#define MESSAGE_ERROR 3
#define FIELD_ERROR_NAME 4
#define FIELD_REPLY_SERIAL 5
#define FIELD_SIGNATURE 8

static void put_fields(struct answer *answer, size_t begin, uint8_t type, const char *error,
                       const char *signature, struct input *input) {
        put_field(answer, begin, FIELD_REPLY_SERIAL, 'u');
        put_u32(answer, 1 + input_u8(input) % 8 / 7); /* the call has 1 */
        if (type == MESSAGE_ERROR) {
                put_field(answer, begin, FIELD_ERROR_NAME, 's');
                put_text(answer, error);
        }
        put_field(answer, begin, FIELD_SIGNATURE, 'g');
        put_u8(answer, (uint8_t) strlen(signature));
        put(answer, signature, strlen(signature) + 1);
}

void answer_put_message(struct answer *answer, struct input *input) {
        static const char *const errors[] = { CONTROL_ERROR_BUSY, CONTROL_ERROR_OUT_OF_RANGE, "org.baton.",
                                              "org.freedesktop.DBus.Error.UnknownMethod",
                                              "System.Error.EIO" };
        static const char *const signatures[] = { "s", "t", "us", "", "as", "ss" };
        const uint8_t kinds[] = { MESSAGE_RETURN, MESSAGE_ERROR, MESSAGE_ERROR, input_u8(input) };
        uint8_t type = kinds[input_u8(input) % ELEMENTSOF(kinds)];
        const char *error = errors[input_u8(input) % ELEMENTSOF(errors)];
        const char *signature = signatures[input_u8(input) % ELEMENTSOF(signatures)];
        size_t begin = answer->used, fields, body;
        uint32_t bytes;
        char text[256];

        put_u8(answer, 'l');
        put_u8(answer, type);
        put_u8(answer, 1); /* no reply expected */
        put_u8(answer, 1);
        put_u32(answer, 0); /* of the body: below */
        put_u32(answer, 7); /* its own serial */
        put_u32(answer, 0); /* of the fields: below */
        fields = answer->used;
        put_fields(answer, begin, type, error, signature, input);
        bytes = (uint32_t) (answer->used - fields);
        memcpy(answer->bytes + begin + 12, &bytes, sizeof(bytes));
        pad(answer, begin, 8);
        body = answer->used;
        if (signature[0] == 's')
                put_text(answer, input_text(input, text, sizeof(text)));
        else
                answer_put_raw(answer, input, input_u8(input));
        bytes = (uint32_t) (answer->used - body);
        memcpy(answer->bytes + begin + 4, &bytes, sizeof(bytes));
}

/* ---- the socket ------------------------------------------------------------------------------------------------ */
static const struct answer *served;
static int listen_fd = -1, peer_fd = -1;

void answer_serve(const struct answer *answer) {
        if (listen_fd < 0) {
                (void) mkdir(place_file("peer"), 0750);
                fuzz_must(socket_make(place_file("peer"), CONTROL_SOCKET_NAME, SOCK_STREAM, 0600, &listen_fd,
                                      NULL) >= 0,
                          "no socket");
        }
        if (peer_fd >= 0)
                (void) close(peer_fd);
        peer_fd = -1;
        served = answer;
}

int __wrap_sd_bus_wait(sd_bus *bus, uint64_t timeout_usec) {
        int r;

        if (served && peer_fd < 0) {
                peer_fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
                fuzz_must(peer_fd >= 0, "nobody has connected: %m");
                fuzz_must(send(peer_fd, served->bytes, served->used, MSG_NOSIGNAL) ==
                                          (ssize_t) served->used ||
                                  served->used == 0,
                          "%zu bytes do not go out: %m", served->used);
                (void) shutdown(peer_fd, SHUT_WR);
        }
        r = __real_sd_bus_wait(bus, 0);
        if (r == 0)
                fake_clock_usec += timeout_usec;
        return r;
}
