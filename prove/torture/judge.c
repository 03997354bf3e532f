/* SPDX-License-Identifier: Apache-2.0 */
/* The judge, all the time: one baton-checker for each destination, in a process of its own, begun again a moment
 * after it has ended. At every look the destination must be a prefix, with nothing parked but what must be; and
 * what stood in a database at the last look must still stand there.
 * Must not touch: the judge's verdict. One thing alone voids it: a source that was moved while it read. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/torture/torture.h"

#define PAUSE_LEAST_USEC (150 * USEC_PER_MSEC)
#define JUDGE_MOST_USEC (100 * USEC_PER_SEC)
#define REFUSALS_MOST 40 /* looks in a row that could not judge */
#define WORD_BYTES (WORLD_PATH_BYTES * 3)
#define WORD_MAX (ORIGIN_COUNT * 2 + 1)

struct call {
        char words[WORD_MAX][WORD_BYTES];
        char *argv[ORIGIN_COUNT * 4 + 8];
        size_t words_used, argument_count;
};

static void add_file(struct call *call, const char *option, const char *name, const char *file,
                     const char *table) {
        char *word = call->words[call->words_used++];

        (void) snprintf(word, WORD_BYTES, "%s=%s%s", name, file, table);
        call->argv[call->argument_count++] = (char *) option;
        call->argv[call->argument_count++] = word;
}

static void make_call(const struct torture *torture, size_t target, bool is_final, struct call *call) {
        char *destination;

        *call = (struct call){ .argv = { "baton-checker", "--destination" }, .argument_count = 2 };
        destination = call->words[call->words_used++];
        (void) snprintf(destination, WORD_BYTES, "%s:%s", targets[target].scheme,
                        world_path(&torture->world, targets[target].place));
        call->argv[call->argument_count++] = destination;
        call->argv[call->argument_count++] = "--parked";
        call->argv[call->argument_count++] = (char *) targets[target].parked;
        call->argv[call->argument_count++] = is_final ? "--final" : "--live";
        for (size_t i = 0; i < ORIGIN_COUNT; i++) {
                if (!(origins[i].target_bits & 1U << target))
                        continue;
                add_file(call, "--source", origins[i].name, scene_file(torture, i), "");
                if (torture->world.outboxes[i].has_ledger)
                        add_file(call, "--ledger", origins[i].name, scene_file(torture, i), ":ledger");
        }
        call->argv[call->argument_count] = NULL;
}

static void begin(struct torture *torture, size_t target, bool is_final) {
        struct judge_run *judge = &torture->targets[target].judge;
        struct call call;

        make_call(torture, target, is_final, &call);
        judge->output_fd = memfd_create("judge", MFD_CLOEXEC);
        judge->pid = judge->output_fd >= 0 ? world_spawn(&torture->world, judge->output_fd, call.argv) : -1;
        if (judge->pid < 0)
                torture_fail(torture, "cannot run the judge");
        judge->begun_usec = clock_usec();
        judge->moves = torture->moves;
        judge->is_final = is_final;
}

/* ---- what it said ------------------------------------------------------------------------------------ */
/* "session NAME: expected N, found N, …, parked N" for each session of the destination. */
static void note_progress(struct torture *torture, size_t target) {
        for (size_t i = 0; i < torture->session_count; i++) {
                struct session_run *session = &torture->sessions[i];
                char start[160];
                const char *line, *found, *parked;
                uint64_t moved;

                if (session->target != target)
                        continue;
                (void) snprintf(start, sizeof(start), "session %s: ", origins[session->origin].name);
                line = strstr(torture->targets[target].judge.output, start);
                found = line ? strstr(line, "found ") : NULL;
                parked = line ? strstr(line, "parked ") : NULL;
                if (!found || !parked)
                        continue;
                moved = strtoull(found + 6, NULL, 10) + strtoull(parked + 7, NULL, 10);
                /* Lines behind the last commit may be cut again; what a database has committed may not. */
                if (strcmp(targets[target].scheme, "sqlite") == 0 && moved < session->judged)
                        torture_fail(torture, "session %s: %" PRIu64 " events stood there, now %" PRIu64,
                                     session->name, session->judged, moved);
                session->judged = moved;
        }
}

static void refused(struct torture *torture, size_t target) {
        struct judge_run *judge = &torture->targets[target].judge;

        judge->refusals++;
        torture_log(torture, "the judge of %s could not judge: %s", targets[target].name, judge->output);
        /* A database that nobody has open, on a disk without room, cannot be opened. */
        if (judge->is_final || ++judge->refused_in_a_row > REFUSALS_MOST)
                torture_fail(torture, "the judge of %s cannot judge:\n%s", targets[target].name,
                             judge->output);
}

void judge_ended(struct torture *torture, size_t target, int status) {
        struct judge_run *judge = &torture->targets[target].judge;
        _cleanup_fd_ int fd = TAKE_FD(judge->output_fd);
        uint64_t now_usec = clock_usec();
        ssize_t bytes;
        int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);

        bytes = pread(fd, judge->output, sizeof(judge->output) - 1, 0);
        judge->output[bytes > 0 ? bytes : 0] = '\0';
        judge->pid = 0;
        judge->next_usec = now_usec + MAX_OF(PAUSE_LEAST_USEC, now_usec - judge->begun_usec);
        if (judge->moves != torture->moves)
                return;
        if (code == 2) {
                refused(torture, target);
                return;
        }
        if (code != 0)
                torture_fail(torture, "the judge of %s says (%d):\n%s", targets[target].name, code,
                             judge->output);
        judge->refused_in_a_row = 0;
        judge->looks++;
        note_progress(torture, target);
}

void judge_turn(struct torture *torture) {
        uint64_t now_usec = clock_usec();

        for (size_t i = 0; i < TARGET_COUNT; i++) {
                struct judge_run *judge = &torture->targets[i].judge;

                if (judge->pid == 0 && now_usec >= judge->next_usec)
                        begin(torture, i, false);
                else if (judge->pid > 0 && now_usec - judge->begun_usec > JUDGE_MOST_USEC)
                        torture_fail(torture, "the judge of %s has not ended within %d s", targets[i].name,
                                     (int) (JUDGE_MOST_USEC / USEC_PER_SEC));
        }
}

void judge_finally(struct torture *torture) {
        for (size_t i = 0; i < TARGET_COUNT; i++) {
                struct judge_run *judge = &torture->targets[i].judge;

                while (judge->pid > 0) { /* a look that was still under way */
                        children_turn(torture);
                        (void) usleep(1000);
                }
                begin(torture, i, true);
                while (judge->pid > 0) {
                        children_turn(torture);
                        (void) usleep(1000);
                }
        }
        for (size_t i = 0; i < torture->session_count; i++)
                torture->counts.events += torture->sessions[i].judged;
}
