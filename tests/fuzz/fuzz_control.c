/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: what a client sends the supervisor (supervisor/control.c, operator.c), and what a supervisor
 * answers the command line (supervisor/cli/bus.c). The bytes of D-Bus are sd-bus's to read; what stands in them is ours.
 *
 * An input's first byte says whose words are foreign: 0 those of clients that keep to D-Bus; 1 the bytes of one that
 * does not; 2 the bytes of a supervisor. Every call is answered, a refusal is a sentence, never more workers are wanted
 * than may be, and after all of it the supervisor answers a ping. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "supervisor/cli/bus.h"
#include "supervisor/control.h"
#include "tests/fuzz/lib/answer.h"
#include "tests/fuzz/lib/world.h"

#define CLIENTS_MAX (CONTROL_CONNECTION_COUNT_MAX + 2)
#define STEPS_MAX 48
#define TURNS_MAX 200

/* ---- both ends turn -------------------------------------------------------------------------------------- */
static sd_bus *clients[CLIENTS_MAX];

static void turn(void) {
        bool is_busy = true;

        for (unsigned turns = 0; is_busy; turns++) {
                fuzz_must(turns < TURNS_MAX, "a talk without end");
                is_busy = false;
                world_turn();
                for (unsigned i = 0; i < CLIENTS_MAX; i++)
                        while (clients[i] && sd_bus_process(clients[i], NULL) > 0)
                                is_busy = true;
        }
}

/* It was asked to stop, and no worker is left. */
static bool has_stopped(void) {
        int code = 0;

        if (sd_event_get_exit_code(world.manager->event, &code) < 0)
                return false;
        fuzz_must(code == 0, "it gave up");
        return true;
}

static void client_close(unsigned index) {
        clients[index] = sd_bus_close_unref(clients[index]);
        turn();
}

static bool client_open(unsigned index) {
        char address[256];

        if (clients[index])
                return true;
        (void) snprintf(address, sizeof(address), "unix:path=%s", place_file("run/" CONTROL_SOCKET_NAME));
        fuzz_must(sd_bus_new(&clients[index]) >= 0, "no memory");
        fuzz_must(sd_bus_set_address(clients[index], address) >= 0, "%s", address);
        if (sd_bus_start(clients[index]) < 0)
                client_close(index);
        turn();
        if (clients[index] && sd_bus_is_ready(clients[index]) <= 0)
                client_close(index); /* one too many */
        return clients[index];
}

/* ---- calls ------------------------------------------------------------------------------------------------- */
struct reply {
        bool came;
};

static int on_reply(sd_bus_message *message, void *context, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(message);
        struct reply *reply = context;

        (void) ret_error;
        reply->came = true;
        if (!error)
                return 0;
        fuzz_must(error->name && error->message && error->message[0], "an error without a sentence");
        if (strncmp(error->name, "org.baton.", strlen("org.baton.")) == 0)
                fuzz_must(text_is_harmless(error->message, strlen(error->message), ""),
                          "a terminal may obey: \"%s\"", error->message);
        return 0;
}

static const char *take_name(struct input *input, char *buffer, size_t bytes) {
        static const char *const names[] = { "a", "b", "s0", "s5", "two/a", "two", "" };
        uint8_t which = input_u8(input) % (ELEMENTSOF(names) + 1);

        return which < ELEMENTSOF(names) ? names[which] : input_text(input, buffer, bytes);
}

/* As the method wants them, or not. Returns < 0 where sd-bus refuses to send such a thing. */
static int append_arguments(sd_bus_message *message, struct input *input) {
        char text[256];
        int r;

        switch (input_u8(input) % 8) {
        case 0:
        case 1:
                r = sd_bus_message_append_basic(message, 's', take_name(input, text, sizeof(text)));
                return r < 0 ? r : sd_bus_message_append(message, "u", input_u8(input) % 9);
        case 2:
                r = sd_bus_message_append_basic(message, 's', take_name(input, text, sizeof(text)));
                return r < 0 ? r : sd_bus_message_append(message, "u", input_u32(input));
        case 3:
        case 4:
                return sd_bus_message_append_basic(message, 's', take_name(input, text, sizeof(text)));
        case 5:
                return sd_bus_message_append(message, "us", input_u32(input), "a");
        case 6:
                return sd_bus_message_append(message, "v", "t", input_u64(input));
        default:
                return 0;
        }
}

static void expect_wanted(void) {
        uint32_t sum = 0;

        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                if (world.manager->pools[i].used && world.manager->pools[i].destination != LAYOUT_NONE)
                        sum += world.manager->pools[i].wanted;
        fuzz_must(sum <= world.manager->config->workers_max, "%u workers are wanted", sum);
}

static void step_call(unsigned index, struct input *input) {
        static const char *const members[] = { CONTROL_METHOD_PING,
                                               CONTROL_METHOD_SCALE,
                                               CONTROL_METHOD_SCALE,
                                               CONTROL_METHOD_ADOPT,
                                               CONTROL_METHOD_ADOPT,
                                               CONTROL_METHOD_RELOAD,
                                               "Hello",
                                               "Destroy" };
        static const char *const paths[] = { CONTROL_PATH, CONTROL_PATH, CONTROL_PATH,
                                             "/org/freedesktop/DBus", "/" };
        static const char *const interfaces[] = { CONTROL_INTERFACE, CONTROL_INTERFACE,
                                                  "org.freedesktop.DBus",
                                                  "org.freedesktop.DBus.Introspectable", NULL };
        const char *path = paths[input_u8(input) % ELEMENTSOF(paths)];
        const char *interface = interfaces[input_u8(input) % ELEMENTSOF(interfaces)];
        const char *member = members[input_u8(input) % ELEMENTSOF(members)];
        sd_bus_message *message = NULL;
        struct reply reply = { 0 };

        if (!client_open(index))
                return;
        fuzz_must(sd_bus_message_new_method_call(clients[index], &message, NULL, path, interface, member) >=
                          0,
                  "no message");
        if (append_arguments(message, input) >= 0 &&
            sd_bus_call_async(clients[index], NULL, message, on_reply, &reply, UINT64_MAX) >= 0) {
                turn();
                fuzz_must(reply.came || has_stopped(), "%s was not answered", member);
        }
        sd_bus_message_unref(message);
        expect_wanted();
}

/* ---- around them --------------------------------------------------------------------------------------------- */
static int socket_to(const char *name, int type) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/%s", place_path(), name);
        fuzz_must(fd >= 0, "socket: %m");
        fuzz_must(connect(fd, (const struct sockaddr *) &address, sizeof(address)) == 0, "%s: %m", name);
        return fd;
}

static void step_hint(struct input *input) {
        _cleanup_fd_ int fd = socket_to(NOTIFY_SOCKET_NAME, SOCK_DGRAM);
        const uint8_t *data;
        size_t bytes = input_bytes(input, input_u8(input), &data);

        (void) send(fd, bytes > 0 ? data : NULL, bytes, MSG_NOSIGNAL);
        turn();
}

/* What makes an answer another: a slot that nobody may touch, a lost segment, a stop. */
static void step_world(struct input *input) {
        uint32_t slot = input_u8(input) % WORLD_SLOTS;

        switch (input_u8(input) % 5) {
        case 0:
                atomic_store(&segment_slot(world.segment, slot)->quarantined, 1);
                break;
        case 1:
                atomic_store(&segment_slot(world.segment, slot)->state, input_u8(input));
                break;
        case 2:
                atomic_store(&world.segment->header->condemned, 1);
                break;
        case 3:
                shutdown_begin(world.manager);
                break;
        default:
                world_kill(&fakes[1 + slot % (WORLD_MEMBERS - 1)], true);
                break;
        }
        if (input_u8(input) % 2)
                world_beat(input_u16(input) * 1000ULL);
}

static void talk(struct input *input) {
        for (unsigned steps = 0; steps < STEPS_MAX && !input_is_empty(input); steps++) {
                uint8_t what = input_u8(input);
                unsigned index = what / 8 % 4;

                if (what % 8 < 5)
                        step_call(index, input);
                else if (what % 8 == 5)
                        client_close(index);
                else if (what % 8 == 6)
                        step_hint(input);
                else if (input_u8(input) % 4 == 0)
                        for (unsigned i = 0; i < CLIENTS_MAX; i++) /* more than may */
                                (void) client_open(i);
                else
                        step_world(input);
        }
}

/* ---- bytes ----------------------------------------------------------------------------------------------------- */
static const char auth[] = "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

static void bytes_of_client(struct input *input) {
        _cleanup_fd_ int fd = socket_to(CONTROL_SOCKET_NAME, SOCK_STREAM);
        struct answer message = { .used = 0 };
        uint8_t begins = input_u8(input) % 4;

        turn();
        if (begins > 0)
                (void) send(fd, auth, sizeof(auth) - 1, MSG_NOSIGNAL);
        if (begins > 1)
                answer_put_message(&message, input); /* an answer that nobody asked for */
        while (!input_is_empty(input) && message.used < sizeof(message.bytes)) {
                answer_put_raw(&message, input, 1 + input_u8(input) * 4U);
                (void) send(fd, message.bytes, message.used, MSG_NOSIGNAL);
                message.used = 0;
                turn();
        }
}

/* As `baton scale` and `baton adopt` ask. */
static void bytes_of_supervisor(struct input *input) {
        _cleanup_bus_ sd_bus *bus = NULL;
        struct failure failure = { 0 };
        struct answer answer = { .used = 0 };
        sd_bus_message *reply = NULL;
        uint8_t kind = input_u8(input);
        uint64_t request;
        int r;

        if (kind % 8 < 7)
                answer_put_authentication(&answer);
        if (kind % 4 < 3)
                answer_put_message(&answer, input);
        answer_put_raw(&answer, input, 1024);
        answer_serve(&answer);
        r = bus_connect(place_file("peer"), 10 * USEC_PER_SEC, &bus, &failure);
        if (r >= 0)
                r = bus_call(bus, CONTROL_METHOD_ADOPT, &failure, &reply, "s", "s1");
        if (r < 0)
                fuzz_must_be_told(r, &failure);
        else
                (void) sd_bus_message_read(reply, "t", &request);
        fuzz_must((r >= 0) == (reply != NULL), "%d", r);
        sd_bus_message_unref(reply);
        answer_serve(NULL);
}

/* ---- an input ----------------------------------------------------------------------------------------------------- */
static void server_begin(void) {
        static char config_path[64];
        struct failure failure = { 0 };

        world_begin();
        (void) snprintf(config_path, sizeof(config_path), "%s", place_file("baton.conf"));
        world.manager->config_path = config_path; /* Reload finds it */
        fuzz_must(notify_start(world.manager, &failure) >= 0, "%s", failure.text);
        fuzz_must(control_start(world.manager, &failure) >= 0, "%s", failure.text);
}

/* The supervisor answers, whatever was said before. */
static void server_end(void) {
        struct input ping = input_of((const uint8_t[]){ 0 }, 1);

        for (unsigned i = 0; i < CLIENTS_MAX; i++)
                client_close(i);
        step_call(0, &ping);
        fuzz_must(clients[0] || has_stopped(), "nobody listens any more");
        client_close(0);
        world_end();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
        struct input input = input_of(data, bytes);

        switch (input_u8(&input) % 3) {
        case 0:
                server_begin();
                talk(&input);
                server_end();
                break;
        case 1:
                server_begin();
                bytes_of_client(&input);
                server_end();
                break;
        default:
                bytes_of_supervisor(&input);
                break;
        }
        return 0;
}
