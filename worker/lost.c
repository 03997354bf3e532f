/* SPDX-License-Identifier: Apache-2.0 */
/* M7 at the source: a sync of it failed, so what it shows may not be on its disk; nothing more of it is
 * moved until an operator has looked at it (`baton adopt`, session by session). Whoever finds it tells all
 * sessions of the source: in the segment, where their owners look before each batch, and in
 * STATE/lost-SESSION, so that no new segment forgets it.
 *
 * Never forgotten by half: told in the segment first and then in the file, taken back in the file first.
 *   worker.K7  told, no file yet    the segment has it, and the next owner writes the files: a segment may be
 *                                   condemned (S11) while the page cache stays. Gone with the power, it takes that
 *                                   along: what the source shows then is what its disk holds
 *   worker.K8  no file, still told  the segment has it: `adopt` was not answered, and is obeyed again
 * Must not touch: the source. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/io.h"
#include "base/log.h"
#include "worker/session.h"

#define LOST_NAME_BYTES (sizeof("lost-") + LAYOUT_NAME_BYTES * 2)
#define SIBLINGS_MAX LAYOUT_POOL_COUNT_MAX

struct told { /* the sessions of one source */
        uint32_t slots[SIBLINGS_MAX];
        char names[SIBLINGS_MAX][LOST_NAME_BYTES]; /* "": it cannot be read now */
        size_t count;
};

static _Atomic uint32_t *word_of(const struct session *session, uint32_t slot_index) {
        return &segment_status(session->worker->segment, slot_index)->source_sync_failed;
}

/* "orders/events" → "lost-orders+events": no name holds a '+' (text_is_name()), so no two meet. */
static void name_of(const char *session, char ret_name[LOST_NAME_BYTES]) {
        (void) snprintf(ret_name, LOST_NAME_BYTES, "lost-%s", session);
        for (char *c = ret_name; *c; c++)
                if (*c == '/')
                        *c = '+';
}

static int open_state(const struct session *session) {
        int fd = open(session->worker->directories.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

/* This one and its siblings. The ring is the supervisor's words: bounded, and names are input (P1). */
static void find_all(const struct session *session, struct told *ret_told) {
        const struct segment *segment = session->worker->segment;
        uint32_t slot_index = session->entry->config.sibling_slot;

        ret_told->slots[0] = session->slot_index;
        name_of(session->entry->config.session, ret_told->names[0]);
        ret_told->count = 1;
        while (slot_index != session->slot_index && slot_index < segment->slot_count &&
               ret_told->count < SIBLINGS_MAX) {
                struct session_config config;

                if (session_config_read(segment, slot_index, &config) < 0) {
                        /* Its writer is at it, or died in it: the word alone; who begins with it knows its name. */
                        ret_told->slots[ret_told->count] = slot_index;
                        ret_told->names[ret_told->count++][0] = '\0';
                        return;
                }
                if (strcmp(config.source, session->entry->config.source) != 0)
                        return;
                ret_told->slots[ret_told->count] = slot_index;
                name_of(config.session, ret_told->names[ret_told->count++]);
                slot_index = config.sibling_slot;
        }
}

bool lost_is_set(const struct session *session) {
        return atomic_load(word_of(session, session->slot_index)) == 1;
}

static bool is_kept(const struct session *session, const char *name) {
        char path[sizeof(session->worker->directories.state) + LOST_NAME_BYTES];

        (void) snprintf(path, sizeof(path), "%s/%s", session->worker->directories.state, name);
        return access(path, F_OK) == 0;
}

/* Who knows it in both places, or was adopted, is left as it is. */
static void leave_out_who_needs_none(const struct session *session, struct told *told) {
        size_t count = 0;

        for (size_t i = 0; i < told->count; i++) {
                if (told->names[i][0] == '\0' || atomic_load(word_of(session, told->slots[i])) != 1 ||
                    is_kept(session, told->names[i]))
                        continue;
                told->slots[count] = told->slots[i];
                memmove(told->names[count++], told->names[i], LOST_NAME_BYTES);
        }
        told->count = count;
}

static void write_files(const struct session *session, const struct told *told, const char *text) {
        const struct log_fields fields = { .session = session->entry->config.session,
                                           .worker_ref = session->worker->ref,
                                           .epoch = session->epoch,
                                           .reason = text };
        _cleanup_fd_ int directory = open_state(session);
        int failed = directory < 0 ? directory : 0;

        for (size_t i = 0; i < told->count && directory >= 0; i++) {
                int r = 0;

                if (told->names[i][0] != '\0')
                        r = file_replace_text(directory, told->names[i], text, 0640);
                if (r < 0)
                        failed = r; /* the others are kept all the same */
        }
        if (failed < 0)
                log_line(
                        MESSAGE_SOURCE_MARK_FAILED, LOG_ERR, &fields,
                        "source %s: that its sync failed cannot be kept in %s (%s), and a reboot would forget "
                        "it: look at the disk and at the source before one",
                        session->entry->config.source, session->worker->directories.state, strerror(-failed));
}

void lost_restore(struct session *session) {
        char name[LOST_NAME_BYTES];
        struct told told;

        name_of(session->entry->config.session, name);
        if (is_kept(session, name))
                atomic_store(word_of(session, session->slot_index), 1);
        if (!lost_is_set(session))
                return;
        find_all(session, &told);
        leave_out_who_needs_none(session, &told);
        if (told.count > 0)
                write_files(session, &told,
                            "a sync of the source failed; who found it died before it could say more here");
}

void lost_set(struct session *session, const struct failure *failure) {
        struct told told;

        find_all(session, &told);
        for (size_t i = 0; i < told.count; i++)
                atomic_store(word_of(session, told.slots[i]), 1);
        CRASH_POINT("worker.K7");
        write_files(session, &told, failure->text);
}

static int remove_file(const struct session *session) {
        _cleanup_fd_ int directory = open_state(session);
        char name[LOST_NAME_BYTES];

        if (directory < 0)
                return directory;
        name_of(session->entry->config.session, name);
        if (unlinkat(directory, name, 0) < 0)
                return errno == ENOENT ? 0 : -errno;
        return dir_sync(directory);
}

void lost_clear(struct session *session) {
        int r;

        if (!lost_is_set(session))
                return;
        r = remove_file(session);
        if (r < 0)
                log_line(MESSAGE_SOURCE_MARK_FAILED, LOG_WARNING,
                         &(struct log_fields){ .session = session->entry->config.session },
                         "session %s: that a sync of its source failed cannot be taken back in %s (%s); a "
                         "restart may ask for `baton adopt` again",
                         session->entry->config.session, session->worker->directories.state, strerror(-r));
        CRASH_POINT("worker.K8");
        atomic_store(word_of(session, session->slot_index), 0);
}
