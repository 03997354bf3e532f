/* SPDX-License-Identifier: Apache-2.0 */
/* What the segment says, as claims to the host; and waiting for the end of a recovery.
 * Must not touch: the segment (mapped read-only). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/powercut/guest/guest.h"

#define SAY_USEC (200 * USEC_PER_MSEC)
#define SAY_STILL_USEC (5 * USEC_PER_SEC) /* so that the host hears that it lives */
#define WAIT_SAY_USEC (10 * USEC_PER_SEC)
/* No timed assertion: a recovery may take as long as it likes while something moves. */
#define STILL_USEC (300 * USEC_PER_SEC)

static void append(char *text, size_t bytes, uint64_t number, char separator) {
        size_t used = strlen(text);

        (void) snprintf(text + used, bytes - used, "%" PRIu64 "%c", number, separator);
}

void claims_say(struct guest *guest) {
        char text[256] = "";

        for (unsigned i = 0; i < SOURCE_COUNT; i++)
                append(text, sizeof(text), guest->claims.committed[i], i + 1 < SOURCE_COUNT ? ',' : '/');
        for (unsigned i = 0; i < SESSION_COUNT; i++)
                append(text, sizeof(text), guest->claims.durable[i], i + 1 < SESSION_COUNT ? ',' : '\0');
        say("claims %s", text);
        guest->said_usec = clock_usec();
}

void claims_read(struct guest *guest, const char *text) {
        struct claims claims = {};
        uint64_t *numbers[SOURCE_COUNT + SESSION_COUNT];
        size_t count = 0;
        int used;

        for (unsigned i = 0; i < SOURCE_COUNT; i++)
                numbers[count++] = &claims.committed[i];
        for (unsigned i = 0; i < SESSION_COUNT; i++)
                numbers[count++] = &claims.durable[i];
        if (!text || strcmp(text, "-") == 0)
                return; /* the first boot: nothing was claimed */
        for (size_t i = 0; i < count; i++, text += used)
                if (sscanf(text, "%" SCNu64 "%n", numbers[i], &used) != 1 ||
                    (text[used] != '\0') != (i + 1 < count))
                        guest_fail(guest, "the host's claims are no claims: %s", text);
                else if (text[used])
                        used++;
        guest->claims = claims;
}

/* A position that is told once is durable: a new owner that does not know yet says nothing (W1). */
static void look(struct guest *guest) {
        uint64_t progress = 0;

        for (unsigned i = 0; i < SOURCE_COUNT; i++) {
                guest->claims.committed[i] = MAX_OF(guest->claims.committed[i],
                                                    application_committed(guest, i));
                progress += guest->claims.committed[i];
        }
        for (unsigned i = 0; i < SESSION_COUNT; i++) {
                if (session_is(&guest->world, sessions[i].name, SESSION_STOPPED))
                        guest_fail(guest, "session %s is stopped: %s", sessions[i].name,
                                   session_reason(&guest->world, sessions[i].name));
                guest->claims.durable[i] = MAX_OF(guest->claims.durable[i],
                                                  session_position(&guest->world, sessions[i].name));
                progress += guest->claims.durable[i];
        }
        children_reap(guest);
        if (progress != guest->progress)
                guest->progress_usec = clock_usec();
        guest->progress = progress;
        if (clock_usec() - guest->said_usec >=
            (guest->progress_usec > guest->said_usec ? SAY_USEC : SAY_STILL_USEC))
                claims_say(guest);
}

void watch(struct guest *guest, uint64_t msec) {
        uint64_t until = clock_usec() + msec * USEC_PER_MSEC;

        do {
                look(guest);
                (void) usleep(50000);
        } while (clock_usec() < until);
}

static const char *who_is_behind(struct guest *guest, const uint64_t *last) {
        for (unsigned i = 0; i < SESSION_COUNT; i++)
                if (session_position(&guest->world, sessions[i].name) != last[sessions[i].source] ||
                    !session_is(&guest->world, sessions[i].name, SESSION_IDLE))
                        return sessions[i].name;
        return NULL;
}

/* Says every ten seconds whom it waits for. */
void wait_recovered(struct guest *guest) {
        uint64_t last[SOURCE_COUNT], said_usec = 0;
        const char *behind;

        for (unsigned i = 0; i < SOURCE_COUNT; i++)
                last[i] = source_last(guest, i);
        guest->progress_usec = clock_usec();
        while ((behind = who_is_behind(guest, last))) {
                watch(guest, 50);
                if (clock_usec() - guest->progress_usec > STILL_USEC)
                        guest_fail(guest, "session %s is not at the end of its source, and nothing moves: %s",
                                   behind, session_reason(&guest->world, behind));
                if (clock_usec() - said_usec < WAIT_SAY_USEC)
                        continue;
                said_usec = clock_usec();
                say("waits for %s: %s", behind, session_reason(&guest->world, behind));
        }
}
