/* SPDX-License-Identifier: Apache-2.0 */
/* The name on the system bus: a connection of our own, the same object as at RUNTIME/control (calls.c), and who asks
 * by the bus's word (R3), asked of it anew for each call and answered when the answer comes.
 *
 * We die here: the bus gives the name up with our connection, and the next supervisor asks for it; while the bus has
 * not seen our end, the next one stands in the queue. Must not touch: anything else of the supervisor; no call that
 * waits for the bus (V12). */
#include "supervisor/bus_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor/calls.h"
#include "supervisor/control.h"
#include "supervisor/manager.h"

#define RETRY_FIRST_USEC (100 * USEC_PER_MSEC)
#define RETRY_MOST_USEC (30 * USEC_PER_SEC)
/* Until it is told that the name is not there yet: the supervisor before us may have it for a moment. */
#define PATIENCE_USEC (2 * USEC_PER_SEC)
#define QUESTION_COUNT_MAX 16
#define QUESTION_SENDER_MAX 4 /* of one sender: one alone does not take the places of all */

/* A call whose sender the bus is asked for. */
struct question {
        struct bus_name *bus_name;
        sd_bus_message *call; /* NULL: this place is free */
        sd_bus_slot *slot;
};

enum trouble { NO_TROUBLE, UNREACHABLE, REFUSED }; /* one line for each, however many tries it lasts */

struct bus_name {
        struct asked asked;
        struct manager *manager;
        char name[CONFIG_BUS_NAME_BYTES]; /* "": none */
        sd_bus *bus;                      /* NULL: not connected, or not yet again */
        bool is_owned;
        sd_event_source *timer;
        uint64_t retry_usec;
        enum trouble told;
        struct question questions[QUESTION_COUNT_MAX];
};

/* ---- what is told ------------------------------------------------------------------------------------- */
static void tell_missing(struct bus_name *self, enum trouble trouble, const char *why) {
        if (self->told == trouble)
                return;
        self->told = trouble;
        log_line(MESSAGE_BUS_NAME_MISSING, LOG_WARNING, NULL,
                 "%s is not on the system bus: %s; it is tried again, and nothing else waits for it",
                 self->name, why);
}

static void tell_owned(struct bus_name *self) {
        if (self->is_owned)
                return;
        self->is_owned = true;
        self->retry_usec = RETRY_FIRST_USEC;
        self->told = NO_TROUBLE;
        log_line(MESSAGE_BUS_NAME_OWNED, LOG_NOTICE, NULL, "%s is on the system bus", self->name);
}

/* ---- the connection ------------------------------------------------------------------------------------- */
static void timer_set(struct bus_name *self, uint64_t usec) {
        (void) sd_event_source_set_time_relative(self->timer, usec);
        (void) sd_event_source_set_enabled(self->timer, SD_EVENT_ONESHOT);
}

static void connection_close(struct bus_name *self) {
        for (size_t i = 0; i < QUESTION_COUNT_MAX; i++) {
                self->questions[i].slot = sd_bus_slot_unref(self->questions[i].slot);
                self->questions[i].call = sd_bus_message_unref(self->questions[i].call);
        }
        self->bus = sd_bus_close_unref(self->bus); /* no flush: it would wait for a bus that hangs */
        self->is_owned = false;
}

/* Every way to lose the name leads here, and from here to the next try. */
static void missing(struct bus_name *self, enum trouble trouble, const char *why) {
        connection_close(self);
        tell_missing(self, trouble, why);
        timer_set(self, self->retry_usec);
        self->retry_usec = MIN_OF(2 * self->retry_usec, RETRY_MOST_USEC);
}

static int on_disconnect(sd_bus_message *message, void *context, sd_bus_error *ret_error) {
        (void) message;
        (void) ret_error;
        missing(context, UNREACHABLE, "the bus has ended the connection, or does not answer");
        return 0;
}

/* The bus tells the owner of a name, unasked. What another peer sends has that peer's own name as its sender. */
static int on_message(sd_bus_message *message, void *context, sd_bus_error *ret_error) {
        const char *sender = sd_bus_message_get_sender(message), *name;
        struct bus_name *self = context;
        bool is_lost;

        (void) ret_error;
        is_lost = sd_bus_message_is_signal(message, "org.freedesktop.DBus", "NameLost") > 0;
        if (!is_lost && sd_bus_message_is_signal(message, "org.freedesktop.DBus", "NameAcquired") <= 0)
                return 0;
        if (!sender || strcmp(sender, "org.freedesktop.DBus") != 0 ||
            sd_bus_message_read(message, "s", &name) < 0 || strcmp(name, self->name) != 0)
                return 0;
        if (!is_lost)
                tell_owned(self);
        else if (self->is_owned)
                missing(self, REFUSED, "the bus has taken it away");
        return 0;
}

static int on_requested(sd_bus_message *reply, void *context, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        struct bus_name *self = context;
        uint32_t answer = 0;

        (void) ret_error;
        if (!error)
                (void) sd_bus_message_read(reply, "u", &answer);
        else if (sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT,
                                        SD_BUS_ERROR_DISCONNECTED))
                missing(self, UNREACHABLE, "the bus does not answer");
        else if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED))
                missing(self, REFUSED,
                        "its policy lets this user not have it (org.baton.conf, for user baton, belongs in "
                        "/usr/share/dbus-1/system.d or /etc/dbus-1/system.d; then `systemctl reload dbus`)");
        else
                missing(self, REFUSED, error->message && error->message[0] ? error->message : error->name);
        if (answer == 1 || answer == 4) /* primary owner; already */
                tell_owned(self);
        return 0; /* else in the queue: NameAcquired comes when it is our turn */
}

static int connection_open(struct bus_name *self) {
        int r;

        r = sd_bus_open_system_with_description(&self->bus, "baton"); /* connects; who we are is said later */
        if (r >= 0)
                r = calls_add(self->bus, &self->asked);
        if (r >= 0)
                r = sd_bus_add_filter(self->bus, NULL, on_message, self);
        if (r >= 0)
                r = sd_bus_match_signal(self->bus, NULL, "org.freedesktop.DBus.Local",
                                        "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                        "Disconnected", on_disconnect,
                                        self); /* local: not asked of the bus */
        if (r >= 0)
                r = sd_bus_attach_event(self->bus, self->manager->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_request_name_async(self->bus, NULL, self->name, SD_BUS_NAME_QUEUE, on_requested,
                                              self);
        return r;
}

/* Time to begin, to take another name, to try again, or to tell that somebody else has it. */
static int on_timer(sd_event_source *source, uint64_t usec, void *context) {
        struct bus_name *self = context;
        const char *wanted = self->manager->config->bus_name;
        char why[128];
        int r;

        (void) source;
        (void) usec;
        if (strcmp(self->name, wanted ? wanted : "") != 0) {
                connection_close(self);
                (void) snprintf(self->name, sizeof(self->name), "%s", wanted ? wanted : "");
                self->told = NO_TROUBLE;
                self->retry_usec = RETRY_FIRST_USEC;
        }
        if (!self->name[0])
                return 0;
        if (self->bus) {
                if (!self->is_owned)
                        tell_missing(self, REFUSED, "another process has it, or the bus does not answer");
                return 0;
        }
        r = connection_open(self);
        if (r < 0) {
                (void) snprintf(why, sizeof(why), "the bus cannot be reached: %s", strerror(-r));
                missing(self, UNREACHABLE, why);
                return 0;
        }
        timer_set(self, PATIENCE_USEC);
        return 0;
}

/* ---- calls ---------------------------------------------------------------------------------------------- */
static int on_credentials(sd_bus_message *reply, void *context, sd_bus_error *ret_error) {
        struct question *question = context;
        struct manager *manager = question->bus_name->manager;
        sd_bus_message *call = TAKE(question->call);
        sd_bus_error error = SD_BUS_ERROR_NULL;
        struct peer peer = {};
        int r;

        (void) ret_error;
        question->slot = sd_bus_slot_unref(question->slot);
        r = sd_bus_message_is_method_error(reply, NULL) > 0 ? -ENODATA : rights_of_bus(reply, &peer);
        if (r >= 0)
                r = calls_run(manager, &peer, call, &error);
        else
                (void) sd_bus_error_setf(
                        &error, CONTROL_ERROR_RIGHT,
                        "the system bus does not say of which user and groups you are; ask at "
                        "%s/" CONTROL_SOCKET_NAME ", as `baton` does",
                        manager->directories.runtime);
        if (r < 0)
                (void) sd_bus_reply_method_errno(call, r, &error);
        sd_bus_error_free(&error);
        sd_bus_message_unref(call);
        return 0;
}

static struct question *question_find_free(struct bus_name *self, const char *sender) {
        struct question *found = NULL;
        unsigned of_sender = 0;

        for (size_t i = 0; i < QUESTION_COUNT_MAX; i++) {
                sd_bus_message *call = self->questions[i].call;

                if (!call)
                        found = &self->questions[i];
                else if (strcmp(sd_bus_message_get_sender(call), sender) == 0)
                        of_sender++;
        }
        return of_sender < QUESTION_SENDER_MAX ? found : NULL;
}

static int bus_answer(struct asked *asked, sd_bus_message *message, sd_bus_error *ret_error) {
        struct bus_name *self = (struct bus_name *) asked; /* its first member */
        const char *sender = sd_bus_message_get_sender(message);
        struct question *question;
        int r;

        if (!sender)
                return -EBADMSG; /* a bus says it of each message */
        question = question_find_free(self, sender);
        if (!question) {
                (void) sd_bus_error_setf(
                        ret_error, CONTROL_ERROR_BUSY,
                        "too many calls wait for the bus to say who makes them (%d, or %d of one "
                        "caller); try again in a moment",
                        QUESTION_COUNT_MAX, QUESTION_SENDER_MAX);
                return -EBUSY;
        }
        r = sd_bus_call_method_async(self->bus, &question->slot, "org.freedesktop.DBus",
                                     "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                     "GetConnectionCredentials", on_credentials, question, "s", sender);
        if (r < 0)
                return r;
        question->call = sd_bus_message_ref(message);
        return 1; /* answered later */
}

/* ---- start and stop ------------------------------------------------------------------------------------- */
int bus_name_start(struct manager *manager, struct failure *ret_failure) {
        struct bus_name *self;
        int r;

        assert(!manager->bus_name);
        self = calloc(1, sizeof *self);
        if (!self)
                return failure_set(ret_failure, -ENOMEM, FAILURE_STOP, "out of memory");
        self->asked.answer = bus_answer;
        self->manager = manager;
        for (size_t i = 0; i < QUESTION_COUNT_MAX; i++)
                self->questions[i].bus_name = self;
        manager->bus_name = self;
        r = sd_event_add_time_relative(manager->event, &self->timer, CLOCK_MONOTONIC, 0, 10 * USEC_PER_MSEC,
                                       on_timer, self);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "no timer for the system bus: %s",
                                   strerror(-r));
        return 0;
}

void bus_name_stop(struct manager *manager) {
        struct bus_name *self = TAKE(manager->bus_name);

        if (!self)
                return;
        connection_close(self);
        self->timer = sd_event_source_disable_unref(self->timer);
        free(self);
}

/* Not at once: who asks for a reload on the bus is to have its answer there. */
void bus_name_apply(struct manager *manager) {
        const char *wanted = manager->config->bus_name;

        if (manager->bus_name && strcmp(manager->bus_name->name, wanted ? wanted : "") != 0)
                timer_set(manager->bus_name, 0);
}

void bus_name_pass(struct manager *manager) {
        if (manager->bus_name && manager->bus_name->bus)
                (void) sd_bus_process(manager->bus_name->bus, NULL);
}
