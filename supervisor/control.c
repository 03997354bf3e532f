/* SPDX-License-Identifier: Apache-2.0 */
/* The private sd-bus server at RUNTIME/control: no bus daemon, typed, introspectable with busctl.
 *
 * Who may ask for what stands in one table (calls.c), and who a peer is the kernel says (rights.c). Anybody can
 * reach the socket, so that a refusal comes with a sentence; who has no right at all is sent away at once. At most 16
 * connections, of which who may not do all has but some; one that says nothing for a minute is closed. Must not touch: state of the supervisor. */
#include "supervisor/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "supervisor/calls.h"
#include "supervisor/manager.h"
#include "supervisor/socket.h"

struct connection {
        struct asked asked;
        struct control *control;
        sd_bus *bus; /* NULL: this place is free */
        struct peer peer;
        sd_event_source *idle_source;
};

struct control {
        struct manager *manager;
        int fd;
        sd_event_source *source;
        struct connection connections[CONTROL_CONNECTION_COUNT_MAX];
        bool full_told;
        bool is_inherited; /* fd is systemd's: see socket_inherit() */
};

static int connection_answer(struct asked *asked, sd_bus_message *message, sd_bus_error *ret_error) {
        struct connection *connection = (struct connection *) asked; /* its first member */

        return calls_run(connection->control->manager, &connection->peer, message, ret_error);
}

/* busctl takes every address for a bus and says Hello first; answered, it introspects and calls. */
static int method_hello(sd_bus_message *message, void *context, sd_bus_error *ret_error) {
        (void) context;
        (void) ret_error;
        return sd_bus_reply_method_return(message, "s", ":1.1");
}

static const sd_bus_vtable hello_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Hello", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", name), method_hello,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

/* ---- connections --------------------------------------------------------------------------------------- */
static void connection_close(struct connection *connection) {
        connection->idle_source = sd_event_source_disable_unref(connection->idle_source);
        connection->bus = sd_bus_close_unref(connection->bus);
        connection->control->full_told = false;
}

static int on_idle(sd_event_source *source, uint64_t usec, void *context) {
        (void) source;
        (void) usec;
        connection_close(context);
        return 0;
}

/* Every message puts the end off. */
static int on_message(sd_bus_message *message, void *context, sd_bus_error *ret_error) {
        struct connection *connection = context;

        (void) message;
        (void) ret_error;
        (void) sd_event_source_set_time_relative(connection->idle_source, CONTROL_IDLE_USEC);
        return 0;
}

static int on_disconnect(sd_bus_message *message, void *context, sd_bus_error *ret_error) {
        (void) message;
        (void) ret_error;
        connection_close(context);
        return 0;
}

static int bus_open(struct connection *connection, int fd) {
        sd_id128_t id;
        int r;

        r = sd_id128_randomize(&id);
        if (r >= 0)
                r = sd_bus_new(&connection->bus);
        if (r >= 0)
                r = sd_bus_set_fd(connection->bus, fd, fd); /* the descriptor is the bus's now */
        if (r < 0) {
                (void) close(fd);
                return r;
        }
        r = sd_bus_set_server(connection->bus, true, id);
        if (r >= 0)
                r = calls_add(connection->bus, &connection->asked);
        if (r >= 0)
                r = sd_bus_add_object_vtable(connection->bus, NULL, "/org/freedesktop/DBus",
                                             "org.freedesktop.DBus", hello_vtable, NULL);
        if (r >= 0)
                r = sd_bus_start(connection->bus);
        if (r >= 0)
                r = sd_bus_add_filter(connection->bus, NULL, on_message, connection);
        if (r >= 0)
                r = sd_bus_match_signal(connection->bus, NULL, "org.freedesktop.DBus.Local",
                                        "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                        "Disconnected", on_disconnect, connection);
        if (r >= 0)
                r = sd_bus_attach_event(connection->bus, connection->control->manager->event,
                                        SD_EVENT_PRIORITY_NORMAL);
        return r;
}

static void connection_open(struct connection *connection, int fd) {
        int r;

        r = sd_event_add_time_relative(connection->control->manager->event, &connection->idle_source,
                                       CLOCK_MONOTONIC, CONTROL_IDLE_USEC, USEC_PER_SEC, on_idle, connection);
        if (r < 0)
                (void) close(fd);
        else
                r = bus_open(connection, fd);
        if (r < 0) {
                connection_close(connection);
                log_line(MESSAGE_CONTROL_TROUBLE, LOG_WARNING, NULL,
                         "a connection to the control socket failed: %s", strerror(-r));
        }
}

/* Nobody who may not do all can take the last places from who may, nor one such user those of all others. */
static struct connection *connection_find_free(struct control *control, const struct peer *peer) {
        struct connection *found = NULL;
        unsigned of_user = 0, of_lesser = 0;

        for (size_t i = 0; i < CONTROL_CONNECTION_COUNT_MAX; i++) {
                struct connection *connection = &control->connections[i];

                if (!connection->bus)
                        found = connection;
                else if (connection->peer.right < RIGHT_MOVE) {
                        of_lesser++;
                        of_user += connection->peer.uid == peer->uid;
                }
        }
        if (peer->right < RIGHT_MOVE &&
            (of_user >= CONTROL_CONNECTION_USER_MAX || of_lesser >= CONTROL_CONNECTION_LESSER_MAX))
                return NULL;
        return found;
}

static int on_connect(sd_event_source *source, int fd, uint32_t events, void *context) {
        struct control *control = context;
        _cleanup_fd_ int peer_fd = -1;
        struct connection *connection;
        struct peer peer = {};

        (void) source;
        (void) events;
        peer_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (peer_fd < 0)
                return 0; /* it went away again, or no descriptor is left: the next one comes here again */
        if (rights_of_socket(peer_fd, &peer) < 0 || peer.right == RIGHT_NONE) {
                log_line(MESSAGE_CONTROL_REFUSED, LOG_WARNING,
                         &(struct log_fields){ .pid = peer.pid, .peer_uid = peer.uid },
                         "pid %d of user %u may not control Baton: refused", peer.pid, peer.uid);
                return 0;
        }
        connection = connection_find_free(control, &peer);
        if (!connection) {
                if (!control->full_told)
                        log_line(
                                MESSAGE_CONTROL_TROUBLE, LOG_WARNING, NULL,
                                "too many connections to the control socket are open (%d, %d of those who may not adopt, "
                                "or %d of one of them): more are refused",
                                CONTROL_CONNECTION_COUNT_MAX, CONTROL_CONNECTION_LESSER_MAX,
                                CONTROL_CONNECTION_USER_MAX);
                control->full_told = true;
                return 0;
        }
        connection->peer = peer;
        connection_open(connection, TAKE_FD(peer_fd));
        return 0;
}

/* ---- start and stop ------------------------------------------------------------------------------------- */
int control_start(struct manager *manager, struct failure *ret_failure) {
        struct control *control;
        int r;

        assert(!manager->control);
        control = calloc(1, sizeof *control);
        if (!control)
                return failure_set(ret_failure, -ENOMEM, FAILURE_STOP, "out of memory");
        control->manager = manager;
        control->fd = -1;
        for (size_t i = 0; i < CONTROL_CONNECTION_COUNT_MAX; i++)
                control->connections[i] = (struct connection){ .asked.answer = connection_answer,
                                                               .control = control };
        manager->control = control;
        r = socket_inherit(manager->directories.runtime, CONTROL_SOCKET_NAME, &control->fd, ret_failure);
        control->is_inherited = r >= 0;
        if (r == -ENOENT)
                r = socket_make(manager->directories.runtime, CONTROL_SOCKET_NAME, SOCK_STREAM, 0666,
                                &control->fd, ret_failure);
        if (r < 0)
                return r;
        r = sd_event_add_io(manager->event, &control->source, control->fd, EPOLLIN, on_connect, control);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "cannot watch the control socket: %s",
                                   strerror(-r));
        return 0;
}

/* Once each: a client that does not read is not waited for. */
void control_pass(struct manager *manager) {
        struct control *control = manager->control;

        for (size_t i = 0; control && i < CONTROL_CONNECTION_COUNT_MAX; i++)
                if (control->connections[i].bus)
                        (void) sd_bus_process(control->connections[i].bus, NULL);
        if (control && control->is_inherited)
                (void) fcntl(control->fd, F_SETFD, 0); /* sd_listen_fds() makes it close-on-exec again */
}

void control_stop(struct manager *manager) {
        struct control *control = TAKE(manager->control);

        if (!control)
                return;
        for (size_t i = 0; i < CONTROL_CONNECTION_COUNT_MAX; i++)
                connection_close(&control->connections[i]);
        control->source = sd_event_source_disable_unref(control->source);
        if (control->fd >= 0) {
                fd_close(&control->fd);
                socket_remove(manager->directories.runtime, CONTROL_SOCKET_NAME);
        }
        free(control);
}
