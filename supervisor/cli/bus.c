/* SPDX-License-Identifier: Apache-2.0 */
/* Speaks to the supervisor over RUNTIME/control. Must not touch: the segment; anything of the
 * supervisor but by its methods. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "supervisor/cli/bus.h"
#include "supervisor/control.h"

#define CALL_TIMEOUT_USEC (20 * USEC_PER_SEC)

void bus_close(sd_bus **bus) {
        *bus = sd_bus_close_unref(*bus); /* no flush: it would wait for a hung supervisor (C5) */
}

/* A path in a D-Bus address: bytes that would end it are escaped. -ENAMETOOLONG. */
static int address_of(const char *runtime_directory, char *ret_address, size_t address_bytes) {
        char path[1024];
        size_t length;

        if ((size_t) snprintf(path, sizeof(path), "%s/" CONTROL_SOCKET_NAME, runtime_directory) >=
            sizeof(path))
                return -ENAMETOOLONG;
        length = (size_t) snprintf(ret_address, address_bytes, "unix:path=");
        for (const char *c = path; *c; c++) {
                if (length + 4 >= address_bytes)
                        return -ENAMETOOLONG;
                if (strchr(",;%=:", *c) || (unsigned char) *c <= ' ')
                        length += (size_t) snprintf(ret_address + length, 4, "%%%02x", (unsigned char) *c);
                else
                        ret_address[length++] = *c;
        }
        ret_address[length] = '\0';
        return 0;
}

/* Authentication takes a few messages: turn the loop until it is through, or the time is over. */
static int wait_ready(sd_bus *bus, uint64_t deadline_usec) {
        int r;

        for (;;) {
                uint64_t now_usec = clock_usec();

                r = sd_bus_is_ready(bus);
                if (r != 0)
                        return r < 0 ? r : 0;
                if (now_usec >= deadline_usec)
                        return -ETIMEDOUT;
                r = sd_bus_process(bus, NULL);
                if (r < 0)
                        return r;
                if (r == 0) {
                        r = sd_bus_wait(bus, deadline_usec - now_usec);
                        if (r < 0 && r != -EINTR)
                                return r;
                }
        }
}

static int connect_failed(const char *runtime_directory, int r, struct failure *ret_failure) {
        if (r == -ENOENT || r == -ECONNREFUSED)
                return failure_set(
                        ret_failure, -ECONNREFUSED, FAILURE_UNAVAILABLE,
                        "no supervisor listens at %s/" CONTROL_SOCKET_NAME ": it is not running, or uses "
                        "another runtime directory. Start it with `baton run`, or name its directory "
                        "with --runtime",
                        runtime_directory);
        if (r == -EACCES || r == -EPERM)
                return failure_set(ret_failure, -EACCES, FAILURE_UNAVAILABLE,
                                   "not allowed to speak to the supervisor at %s/" CONTROL_SOCKET_NAME
                                   ": be root, or in group baton",
                                   runtime_directory);
        if (r == -EPIPE || r == -ECONNRESET)
                return failure_set(
                        ret_failure, r, FAILURE_UNAVAILABLE,
                        "the supervisor at %s/" CONTROL_SOCKET_NAME
                        " closed the connection: it does so when it ends, and to whoever may not even "
                        "look. Be root, or in group baton (`adduser` and a new login)",
                        runtime_directory);
        if (r == -ETIMEDOUT)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE,
                                   "the supervisor at %s/" CONTROL_SOCKET_NAME
                                   " does not answer. `baton status` works "
                                   "without it and says more",
                                   runtime_directory);
        return failure_set(ret_failure, r, FAILURE_UNAVAILABLE,
                           "cannot speak to the supervisor at %s/" CONTROL_SOCKET_NAME ": %s",
                           runtime_directory, strerror(-r));
}

int bus_connect(const char *runtime_directory, uint64_t timeout_usec, sd_bus **ret_bus,
                struct failure *ret_failure) {
        _cleanup_bus_ sd_bus *bus = NULL;
        char address[2048];
        int r;

        assert(runtime_directory && ret_bus);

        r = address_of(runtime_directory, address, sizeof(address));
        if (r < 0)
                return connect_failed(runtime_directory, r, ret_failure);
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = wait_ready(bus, clock_usec() + timeout_usec);
        if (r < 0)
                return connect_failed(runtime_directory, r, ret_failure);
        (void) sd_bus_set_method_call_timeout(bus, CALL_TIMEOUT_USEC);
        *ret_bus = TAKE(bus);
        return 0;
}

int bus_connect_system(uint64_t timeout_usec, sd_bus **ret_bus) {
        _cleanup_bus_ sd_bus *bus = NULL;
        int r;

        assert(ret_bus);

        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = wait_ready(bus, clock_usec() + timeout_usec);
        if (r < 0)
                return r;
        (void) sd_bus_set_method_call_timeout(bus, timeout_usec);
        *ret_bus = TAKE(bus);
        return 0;
}

/* Another program, or another version, may send an error without a sentence. */
static const char *sentence_of(const sd_bus_error *error, const char *otherwise) {
        return error->message && error->message[0] ? error->message : otherwise;
}

int bus_call(sd_bus *bus, const char *method, struct failure *ret_failure, sd_bus_message **ret_reply,
             const char *types, ...) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *message = NULL, *reply = NULL;
        va_list arguments;
        int r;

        assert(bus && method && types);

        r = sd_bus_message_new_method_call(bus, &message, NULL, CONTROL_PATH, CONTROL_INTERFACE, method);
        if (r >= 0) {
                va_start(arguments, types);
                r = sd_bus_message_appendv(message, types, arguments);
                va_end(arguments);
        }
        if (r >= 0)
                r = sd_bus_call(bus, message, 0, &error, &reply);
        if (r < 0 && sd_bus_error_is_set(&error) && strncmp(error.name, "org.baton.", 10) == 0)
                failure_set(ret_failure, r, FAILURE_STOP, "%s", sentence_of(&error, error.name));
        else if (r == -ETIMEDOUT)
                failure_set(
                        ret_failure, r, FAILURE_UNAVAILABLE,
                        "the supervisor took %s and has not answered; what it did with it is unknown. `baton "
                        "status` works without it and says more",
                        method);
        else if (r < 0)
                failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "the supervisor refused %s: %s", method,
                            sentence_of(&error, strerror(-r)));
        sd_bus_error_free(&error);
        sd_bus_message_unref(message);
        if (r >= 0 && ret_reply)
                *ret_reply = TAKE(reply);
        sd_bus_message_unref(reply);
        return r < 0 ? r : 0;
}

int bus_connect_for(const struct invocation *invocation, const char *runtime_directory, sd_bus **ret_bus) {
        struct failure failure = {};
        int r;

        r = bus_connect(runtime_directory, 10 * USEC_PER_SEC, ret_bus, &failure);
        if (r < 0)
                return cli_fail_with(invocation,
                                     r == -ECONNREFUSED ? EXIT_CODE_NOT_RUNNING : EXIT_CODE_FAILED, r,
                                     &failure);
        return EXIT_CODE_OK;
}

int bus_ask(const struct invocation *invocation, const char *method, struct directories *ret_directories) {
        _cleanup_bus_ sd_bus *bus = NULL;
        struct failure failure = {};
        int r, code;

        assert(invocation && method && ret_directories);

        code = cli_directories(invocation, ret_directories);
        if (code == EXIT_CODE_OK)
                code = bus_connect_for(invocation, ret_directories->runtime, &bus);
        if (code != EXIT_CODE_OK)
                return code;
        r = bus_call(bus, method, &failure, NULL, "");
        return r < 0 ? cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure) : EXIT_CODE_OK;
}
