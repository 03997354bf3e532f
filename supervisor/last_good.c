/* SPDX-License-Identifier: Apache-2.0 */
/* U6: a configuration that cannot be used stops nothing that runs. Whoever is started while workers of a supervisor
 * that died live, and finds the configuration refused or gone, goes on with the last one that was good, and says so:
 * in journald, in STATUS=, in `baton status`. It stands in RUNTIME/config.good, written before it is applied (0600:
 * an address may hold what others should not read), and goes at an orderly end.
 *
 * Only then: without a living worker nothing runs that would stop, and a start fails as loudly as ever.
 * Must not touch: the configuration's own files; the segment but for the words that say why it was refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/io.h"
#include "base/log.h"
#include "shm/life_word.h"
#include "shm/words.h"
#include "supervisor/manager.h"

#define GOOD_NAME "config.good"
/* The one whose numbers of workers the pools have: good says what is to be, this says what is. */
#define APPLIED_NAME "config.applied"

static int runtime_open(const struct directories *directories) {
        return open(directories->runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ---- keeping it ----------------------------------------------------------------------------------------- */
static int keep(const struct directories *directories, const char *name, const struct config *config) {
        _cleanup_fd_ int directory_fd = runtime_open(directories);
        _cleanup_free_ char *text = NULL;
        int r;

        if (directory_fd < 0)
                return -errno;
        r = config_write(config, &text);
        if (r < 0)
                return r;
        return file_replace_text(directory_fd, name, text, 0600);
}

static void forget(const struct directories *directories, const char *name) {
        _cleanup_fd_ int directory_fd = runtime_open(directories);

        if (directory_fd >= 0)
                (void) unlinkat(directory_fd, name, 0);
}

void last_good_keep(struct manager *manager, const struct config *config) {
        int r;

        r = keep(&manager->directories, GOOD_NAME, config);
        if (r < 0) {
                /* One of before would set the sessions back to it. */
                forget(&manager->directories, GOOD_NAME);
                log_line(MESSAGE_SUPERVISOR_TROUBLE, LOG_WARNING, NULL,
                         "cannot write %s/" GOOD_NAME ": %s; if the supervisor dies and the configuration is "
                         "refused then, nobody adopts the workers",
                         manager->directories.runtime, strerror(-r));
        }
        /* K7 We die here: this configuration was good and stands there, and the segment has the one before. The next
         * supervisor applies it, from there or from its own files. */
        CRASH_POINT("supervisor.K7");
}

void last_good_applied(struct manager *manager) {
        int r;

        /* K8 We die here: the pools have the numbers of this configuration, and the one before stands for what they
         * have. The next supervisor sets those that changed once more; nobody can have scaled since. */
        CRASH_POINT("supervisor.K8");
        r = keep(&manager->directories, APPLIED_NAME, manager->config);
        if (r >= 0)
                return;
        forget(&manager->directories, APPLIED_NAME); /* then the last good one is believed to be it */
        log_line(
                MESSAGE_SUPERVISOR_TROUBLE, LOG_WARNING, NULL,
                "cannot write %s/" APPLIED_NAME
                ": %s; if the supervisor dies in a reload, a changed number of workers may have to be set by "
                "`baton scale`",
                manager->directories.runtime, strerror(-r));
}

void last_good_forget(const struct directories *directories) {
        forget(directories, GOOD_NAME);
        forget(directories, APPLIED_NAME);
}

/* ---- going on with it ------------------------------------------------------------------------------------- */
/* Left by a supervisor that died, or by ourselves before an upgrade's exec, and somebody lives in it. */
static bool runs(const struct segment *segment) {
        const struct layout_header *header = segment->header;
        pid_t pid = (pid_t) atomic_load_explicit(&header->supervisor_pid, memory_order_acquire);

        if (pid == 0 || atomic_load_explicit(&header->stopping, memory_order_relaxed) != 0 ||
            atomic_load_explicit(&header->condemned, memory_order_relaxed) != 0)
                return false;
        if (pid != getpid() && adopt_process_lives(pid, atomic_load_explicit(&header->supervisor_start_ticks,
                                                                             memory_order_relaxed)))
                return false;
        for (uint32_t i = 0; i < segment->worker_count; i++) {
                const struct layout_worker *worker = segment_worker(segment, i);

                if (life_word_state(atomic_load_explicit(&worker->life, memory_order_acquire)) == LIFE_LIVE &&
                    adopt_process_lives((pid_t) atomic_load_explicit(&worker->pid, memory_order_relaxed),
                                        atomic_load_explicit(&worker->start_ticks, memory_order_relaxed)))
                        return true;
        }
        return false;
}

static struct config *read_back(const struct directories *directories, const char *name) {
        char path[sizeof directories->runtime + sizeof "/" APPLIED_NAME];
        struct config *config = NULL;

        (void) snprintf(path, sizeof path, "%s/%s", directories->runtime, name);
        return config_load_alone(path, &config, NULL) < 0 ? NULL : config;
}

struct config *last_good_read_applied(const struct directories *directories) {
        struct config *config = read_back(directories, APPLIED_NAME);

        return config ? config : read_back(directories, GOOD_NAME); /* of a version that wrote that alone */
}

int last_good_load(struct manager *manager, int r, const struct failure *failure) {
        _cleanup_segment_ struct segment *segment = NULL;

        assert(r < 0);
        assert(!manager->config);

        if (segment_open(manager->directories.runtime, false, &segment, NULL) < 0 || !runs(segment))
                return r;
        manager->config = read_back(&manager->directories, GOOD_NAME);
        if (!manager->config)
                return r;
        (void) snprintf(manager->config_refused, sizeof manager->config_refused, "%s", failure->text);
        return 0;
}

int last_good_give_up(struct manager *manager, struct failure *ret_failure) {
        assert(manager->config_refused[0]);

        config_free(TAKE(manager->config));
        return failure_set(ret_failure, -EINVAL, FAILURE_STOP, "%s", manager->config_refused);
}

/* ---- saying so -------------------------------------------------------------------------------------------- */
void last_good_tell(struct manager *manager) {
        header_refused_write(manager->segment, manager->config_refused);
        if (manager->config_refused[0])
                log_line(MESSAGE_CONFIGURATION_KEPT, LOG_ERR,
                         &(struct log_fields){ .reason = manager->config_refused },
                         "the configuration is refused, and the last good one goes on: %s; correct it, then "
                         "`baton reload`",
                         manager->config_refused);
}

void last_good_refused_again(struct manager *manager, const struct failure *failure) {
        if (!manager->config_refused[0])
                return; /* what runs is what stood there when it was read last */
        (void) snprintf(manager->config_refused, sizeof manager->config_refused, "%s", failure->text);
        header_refused_write(manager->segment, manager->config_refused);
}

void last_good_mended(struct manager *manager) {
        if (!manager->config_refused[0])
                return;
        manager->config_refused[0] = '\0';
        header_refused_write(manager->segment, "");
}
