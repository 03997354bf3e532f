/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary installation: directories, configuration, and the end of all of it.
 *
 * The runtime directory is on tmpfs (/dev/shm) where there is one, as it is in service. The test is a
 * subreaper, so that a worker whose supervisor was killed is still found and ended here. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prove/world/world.h"

void (*world_failed)(const char *message);

static void make_directory(char *path, size_t path_bytes, const char *base, const char *what) {
        (void) snprintf(path, path_bytes, "%.400s/baton-%s-XXXXXX", base, what);
        if (!mkdtemp(path)) {
                fprintf(stderr, "cannot make a directory in %s: %s\n", base, strerror(errno));
                abort();
        }
}

/* $BATON_BIN, else where our own binary is (baton-prove), else ../../bin beside it
 * (BUILD/tests/integration/test_x), else ../bin (BUILD/bench/bench_x). */
static void find_binaries(struct world *world) {
        static const char *const places[] = { "", "/../../bin", "/../bin" };
        const char *told = getenv("BATON_BIN");
        char self[WORLD_PATH_BYTES - 32], probe[WORLD_PATH_BYTES + 32];
        ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

        if (told && told[0]) {
                (void) snprintf(world->bin, sizeof(world->bin), "%s", told);
                return;
        }
        self[length > 0 ? length : 0] = '\0';
        if (strrchr(self, '/'))
                *strrchr(self, '/') = '\0';
        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                (void) snprintf(world->bin, sizeof(world->bin), "%s%s", self, places[i]);
                (void) snprintf(probe, sizeof(probe), "%s/batond", world->bin);
                if (access(probe, X_OK) == 0)
                        return;
        }
        fprintf(stderr, "no batond beside %s: set BATON_BIN\n", self);
        abort();
}

void world_begin(struct world *world) {
        char directory[WORLD_PATH_BYTES], runtime[WORLD_PATH_BYTES];
        const char *base = getenv("TMPDIR");

        make_directory(directory, sizeof(directory), base && base[0] ? base : "/tmp", "test");
        make_directory(runtime, sizeof(runtime), access("/dev/shm", W_OK) == 0 ? "/dev/shm" : directory,
                       "run");
        world_begin_at(world, directory, runtime);
}

void world_begin_at(struct world *world, const char *directory, const char *runtime) {
        *world = (struct world){ .keeps_files = getenv("BATON_TEST_KEEP") != NULL };
        (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
        (void) signal(SIGPIPE, SIG_IGN);
        find_binaries(world);
        (void) snprintf(world->directory, sizeof(world->directory), "%s", directory);
        (void) snprintf(world->runtime, sizeof(world->runtime), "%s", runtime);
        (void) snprintf(world->state, sizeof(world->state), "%.*s/state", WORLD_PATH_BYTES - 16,
                        world->directory);
        (void) snprintf(world->config, sizeof(world->config), "%.*s/baton.conf", WORLD_PATH_BYTES - 16,
                        world->directory);
        (void) mkdir(world->state, 0750);
        /* Every command finds its directories here, as it would under systemd. */
        (void) setenv("STATE_DIRECTORY", world->state, 1);
        (void) setenv("RUNTIME_DIRECTORY", world->runtime, 1);
        reports_begin(world);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
        (void) status, (void) kind, (void) walk;
        (void) remove(path);
        return 0;
}

/* Supervisor first: it would start another worker for each that dies. */
static void end_processes(struct world *world) {
        pid_t pids[512];
        size_t count;

        if (world->batond > 0)
                kill_and_wait(world->batond, SIGKILL);
        world->batond = 0;
        for (int round = 0; round < 50; round++) {
                count = world_processes(world, pids, ELEMENTSOF(pids));
                if (count == 0)
                        break;
                for (size_t i = 0; i < count; i++)
                        kill_and_wait(pids[i], SIGKILL);
        }
        world_reap();
}

static void world_remove(struct world *world) {
        if (world->keeps_files)
                fprintf(stderr, "kept: %s %s\n", world->directory, world->runtime);
        else {
                (void) nftw(world->runtime, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
                (void) nftw(world->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        }
        world->directory[0] = '\0';
}

void world_end(struct world *world) {
        bool has_faults, has_reports;

        if (world->directory[0] == '\0')
                return;
        has_faults = reports_of_faults(world);
        end_processes(world);
        has_reports = reports_of_sanitizers(world); /* all that could write one are gone */
        segment_closep(&world->segment);
        world_remove(world);
        if (!has_faults && !has_reports)
                return;
        fprintf(stderr, "FAILED: %s; see above\n",
                has_reports ? "a sanitizer reported"
                            : "a process died of a fault that the test did not cause");
        abort();
}

void world_fail(struct world *world, const char *format, ...) {
        char message[2048];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);
        world_dump(world);
        if (world_failed)
                world_failed(message);
        fprintf(stderr, "FAILED: %s\n", message);
        world_end(world);
        exit(1);
}

const char *world_path(const struct world *world, const char *name) {
        static char paths[4][WORLD_PATH_BYTES * 2];
        static unsigned next;
        char *path = paths[next++ % ELEMENTSOF(paths)];

        (void) snprintf(path, sizeof(paths[0]), "%s/%s", world->directory, name);
        return path;
}

/* In one step: a supervisor that is just starting reads the old one or the new one. */
void world_config(struct world *world, const char *text) {
        char path[WORLD_PATH_BYTES + 8];
        FILE *file;

        (void) snprintf(path, sizeof(path), "%s.new", world->config);
        file = fopen(path, "we");
        if (!file)
                world_fail(world, "cannot write %s", path);
        for (const char *c = text; *c; c++) {
                if (c[0] == '%' && c[1] == 'D') {
                        fputs(world->directory, file);
                        c++;
                } else
                        fputc(*c, file);
        }
        if (fclose(file) != 0 || rename(path, world->config) < 0)
                world_fail(world, "cannot write %s", world->config);
}

void world_outbox(struct world *world, const char *name) {
        struct world_outbox *outbox = &world->outboxes[world->outbox_count];
        char file[80];

        assert(world->outbox_count < WORLD_OUTBOX_MAX);
        *outbox = (struct world_outbox){};
        (void) snprintf(outbox->name, sizeof(outbox->name), "%s", name);
        (void) snprintf(file, sizeof(file), "%.60s.db", name);
        (void) snprintf(outbox->file, sizeof(outbox->file), "%.500s", world_path(world, file));
        world->outbox_count++;
        if (baton(world, "outbox", "create", outbox->file) != 0)
                world_fail(world, "baton outbox create %s: %s", outbox->file, world->output);
}

void world_outbox_cleaned(struct world *world, const char *name) {
        world_outbox(world, name);
        world->outboxes[world->outbox_count - 1].has_ledger = true;
}

void world_config_standard(struct world *world, unsigned workers, const char *destination_lines) {
        char text[8192];
        size_t used;

        used = (size_t) snprintf(text, sizeof(text),
                                 "[baton]\nadopt-timeout = 5s\n\n"
                                 "[destination d]\nurl = sqlite:%%D/d.db\nworkers = %u\n%s\n",
                                 workers, destination_lines ? destination_lines : "");
        for (size_t i = 0; i < world->outbox_count; i++)
                used += (size_t) snprintf(text + used, sizeof(text) - used,
                                          "\n[source %s]\nurl = sqlite:%s\nto = d\n", world->outboxes[i].name,
                                          world->outboxes[i].file);
        world_config(world, text);
}

void world_shell(struct world *world, const char *command) {
        char text[WORLD_PATH_BYTES * 4];

        (void) snprintf(text, sizeof(text), "cd '%s' && %s", world->directory, command);
        if (system(text) != 0)
                world_fail(world, "failed: %s", text);
}
