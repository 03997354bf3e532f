/* SPDX-License-Identifier: Apache-2.0 */
/* A program with planted faults, to show that a sanitizer's report is seen by whoever runs it: without an
 * argument it prints the kinds that this build can report; with one it makes that fault, and if it survives it
 * is killed. A build without sanitizers plants nothing and prints nothing. */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/sanitize.h"

#if SANITIZE_ADDRESS
static void plant_address(void) {
        volatile size_t at = 16; /* the compiler is not to know */
        char *bytes = malloc(16);

        if (bytes)
                bytes[at] = 1;
        free(bytes);
}
#endif

#if SANITIZE_UNDEFINED
static void plant_undefined(void) {
        volatile int large = INT_MAX;

        large += 1;
}
#endif

#if SANITIZE_THREAD
static int raced;

static void *race(void *argument) {
        raced++;
        return argument;
}

static void plant_thread(void) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, race, NULL) == 0) {
                raced++;
                (void) pthread_join(thread, NULL);
        }
}
#endif

static const struct {
        const char *kind;
        void (*plant)(void);
} faults[] = {
#if SANITIZE_ADDRESS
        { "address", plant_address },
#endif
#if SANITIZE_UNDEFINED
        { "undefined", plant_undefined },
#endif
#if SANITIZE_THREAD
        { "thread", plant_thread },
#endif
        { NULL, NULL },
};

int main(int argc, char *argv[]) {
        for (size_t i = 0; faults[i].kind; i++)
                if (argc < 2)
                        puts(faults[i].kind);
                else if (strcmp(argv[1], faults[i].kind) == 0)
                        faults[i].plant();
        return argc < 2 ? 0 : raise(SIGKILL);
}
