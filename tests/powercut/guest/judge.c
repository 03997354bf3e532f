/* SPDX-License-Identifier: Apache-2.0 */
/* Asks baton-checker, the independent judge, and reads what it says.
 * Must not touch: what it judges. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/powercut/guest/guest.h"

#define WORD_BYTES 256

/* "session NAME: expected E, found F, …, parked P" */
static uint64_t number_of(struct guest *guest, const char *session, const char *word) {
        char begin[WORD_BYTES];
        const char *line, *at;
        uint64_t number = 0;

        (void) snprintf(begin, sizeof(begin), "session %s: ", session);
        line = strstr(guest->world.output, begin);
        at = line ? strstr(line, word) : NULL;
        if (!at || sscanf(at + strlen(word), " %" SCNu64, &number) != 1)
                guest_fail(guest, "the judge says nothing of session %s", session);
        return number;
}

/* At its destination a session has the name of its source. */
static int ask(struct guest *guest, unsigned destination, const char *mode) {
        char words[SESSION_COUNT][WORD_BYTES];
        const char *argv[5 + SESSION_COUNT * 2] = { "/bin/baton-checker", "--destination",
                                                    destinations[destination], mode };
        size_t count = 4, used = 0;

        for (unsigned i = 0; i < SESSION_COUNT; i++) {
                const struct source *source = &sources[sessions[i].source];

                if (sessions[i].destination != destination)
                        continue;
                (void) snprintf(words[used], WORD_BYTES, "%s=%s%s", source->name, source->file,
                                source->cleaned ? ":ledger" : "");
                argv[count++] = source->cleaned ? "--ledger" : "--source";
                argv[count++] = words[used++];
        }
        argv[count] = NULL;
        return program_run(guest, argv);
}

void judge_before(struct guest *guest, uint64_t *ret_found) {
        for (unsigned d = 0; d < ELEMENTSOF(destinations); d++) {
                int r = ask(guest, d, "--live");

                if (r == 2 || (r != 0 && d == SQLITE_DESTINATION))
                        guest_fail(guest, "before Baton ran, %s was no prefix of its sources (judge: %d)",
                                   destinations[d], r);
                for (unsigned i = 0; i < SESSION_COUNT; i++)
                        if (sessions[i].destination == d)
                                ret_found[i] = number_of(guest, sources[sessions[i].source].name, "found");
        }
}

uint64_t judge_final(struct guest *guest) {
        uint64_t events = 0;

        for (unsigned d = 0; d < ELEMENTSOF(destinations); d++) {
                int r = ask(guest, d, "--final");

                if (r != 0)
                        guest_fail(guest, "%s is not what its sources say (judge: %d)", destinations[d], r);
                for (unsigned i = 0; i < SESSION_COUNT; i++) {
                        if (sessions[i].destination != d)
                                continue;
                        if (number_of(guest, sources[sessions[i].source].name, "parked") != 0)
                                guest_fail(guest, "session %s parked an event, and every event can be stored",
                                           sessions[i].name);
                        events += number_of(guest, sources[sessions[i].source].name, "found");
                }
        }
        return events;
}
