/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor/cli: status of a real segment, in text and JSON, and of segments full of nonsense: every
 * byte of it is input (P1, S10; C3, C4 of the command line's README). */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"
#include "shm/life.h"
#include "supervisor/cli/status.h"

#define WORKERS 4
#define SLOTS 16

static const uint8_t instance[LAYOUT_INSTANCE_BYTES] = { 0xab, 1 };
static char directory[256], file[300];
static struct segment *writable, *readable;

static void configure(uint32_t slot_index, const char *session) {
        struct layout_config config = { .sibling_slot = slot_index };

        (void) snprintf(config.session, sizeof(config.session), "%s", session);
        (void) snprintf(config.source, sizeof(config.source), "%s", session);
        cr_assert_eq(slot_configure(writable, slot_index, 0, &config), 0);
}

/* One pool, one worker (this thread), three sessions: owned and moving, owned and silent, an orphan. */
static void setup(void) {
        struct pool_settings settings = {
                .state = POOL_ACTIVE, .workers_wanted = 2, .name = "events", .url = "sqlite:/x.db"
        };
        struct segment_geometry geometry = { WORKERS, SLOTS };
        const char *base = getenv("TMPDIR");
        struct session_status status = { .phase = SESSION_MOVING,
                                         .position = 41,
                                         .event_count = 40,
                                         .lag_events = 7,
                                         .lag_bytes = UINT64_MAX,
                                         .oldest_realtime_usec = UINT64_MAX };
        struct failure failure = {};
        uint64_t ref, epoch;

        (void) snprintf(directory, sizeof(directory), "%s/baton-view-XXXXXX", base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(directory));
        (void) snprintf(file, sizeof(file), "%s/" SEGMENT_FILE_NAME, directory);
        cr_assert_eq(segment_create(directory, &geometry, instance, 3ULL << 32, &writable, &failure), 0, "%s",
                     failure.text);
        atomic_store(&writable->header->stall_timeout_usec, 10 * USEC_PER_SEC);
        pool_settings_write(writable, 0, &settings);
        cr_assert_eq(life_enter(writable, 0, &ref, &failure), 0, "%s", failure.text);
        for (uint32_t i = 0; i < 3; i++)
                configure(i, (const char *[]){ "orders", "payments", "refunds" }[i]);
        for (uint32_t i = 0; i < 2; i++) {
                slot_assign(writable, i, ref, 0);
                cr_assert_eq(slot_take(writable, i, ref, &epoch), 0);
                status.epoch = epoch;
                if (i == 0)
                        session_status_write(writable, i, &status);
        }
        cr_assert_eq(segment_open(directory, false, &readable, &failure), 0, "%s", failure.text);
}

static void teardown(void) {
        segment_close(readable);
        (void) unlink(file);
        (void) rmdir(directory);
}

TestSuite(cli_view, .init = setup, .fini = teardown);

static char *text_of(const struct view *view) {
        char *printed = NULL;
        size_t bytes;
        FILE *out = open_memstream(&printed, &bytes);

        status_print_text(view, out);
        (void) fclose(out);
        return printed;
}

static json_t *json_of(const struct view *view) {
        char *printed = NULL;
        size_t bytes;
        FILE *out = open_memstream(&printed, &bytes);
        json_t *json;

        cr_assert_eq(status_print_json(view, out), 0);
        (void) fclose(out);
        json = json_loadb(printed, bytes, 0, NULL);
        free(printed);
        cr_assert_not_null(json, "status prints JSON, whatever it read");
        return json;
}

Test(cli_view, a_reading_says_what_stands_there_s10) {
        _cleanup_view_ struct view view = {};
        const struct view_session *session;

        view_read(readable, &view);
        cr_assert_eq(view.pool_count, 1);
        cr_assert_eq(view.worker_count, 1);
        cr_assert_eq(view.session_count, 3);
        cr_assert_eq(view.workers[0].pid, getpid());
        cr_assert_eq(view.workers[0].session_count, 2);
        cr_assert(view.workers[0].is_live);
        cr_assert_eq(view.supervisor, SUPERVISOR_NONE);
        session = view_find_session(&view, "orders");
        cr_assert_not_null(session);
        cr_assert_eq(session->state.word, STATE_MOVING);
        cr_assert_eq(session->status.position, 41);
        cr_assert_eq(session->owner_pid, getpid());
        cr_assert_eq(view_find_session(&view, "payments")->state.word, STATE_STARTING);
        cr_assert_eq(view_find_session(&view, "refunds")->state.word, STATE_WAITING);
        cr_assert_null(view_find_session(&view, "nobody"));
}

/* Its entry is another's, or nobody's, by now; or the record in it names no process. */
Test(cli_view, a_worker_without_a_pid_is_unknown_and_never_pid_0_c4) {
        _cleanup_view_ struct view view = {}, nameless = {};
        struct layout_worker *worker = segment_worker(writable, 0);
        uint64_t life = atomic_load(&worker->life);
        json_t *json, *pool;
        char *text;

        atomic_store(&worker->life, (life & ~0xffULL) | LIFE_FREE);
        view_read(readable, &view);
        text = text_of(&view);
        cr_expect(strstr(text, "  0 (unknown)  "), "%s", text);
        cr_expect_null(strstr(text, "pid 0"), "%s", text);
        free(text);
        cr_expect(strstr(view_find_session(&view, "orders")->state.why, "its worker is not known"), "%s",
                  view_find_session(&view, "orders")->state.why);
        atomic_store(&worker->life, life);

        for (uint32_t pid = 0;; pid = UINT32_MAX) {
                atomic_store(&worker->pid, pid);
                view_read(readable, &nameless);
                text = text_of(&nameless);
                cr_expect(strstr(text, "  0  unknown  "), "%s", text);
                cr_expect_null(strstr(text, "pid 0"), "%s", text);
                cr_expect_null(strstr(text, "pid -"), "%s", text);
                free(text);
                json = json_of(&nameless);
                pool = json_array_get(json_object_get(json, "destinations"), 0);
                cr_expect(json_is_null(
                        json_object_get(json_array_get(json_object_get(pool, "workers"), 0), "pid")));
                json_decref(json);
                view_done(&nameless);
                if (pid != 0)
                        break;
        }
        atomic_store(&worker->pid, (uint32_t) getpid());
}

/* S3: a hung supervisor reaps nobody, and a worker that was killed is a zombie then, not alive. */
Test(cli_view, a_zombie_does_not_live_s10) {
        _cleanup_view_ struct view view = {};
        uint64_t start_ticks;
        siginfo_t info;
        pid_t pid;

        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0)
                _exit(0);
        cr_assert_eq(waitid(P_PID, (id_t) pid, &info, WEXITED | WNOWAIT), 0);
        cr_assert_eq(process_start_ticks(pid, &start_ticks), 0);
        atomic_store(&segment_worker(writable, 0)->pid, (uint32_t) pid);
        atomic_store(&segment_worker(writable, 0)->start_ticks, start_ticks);
        atomic_store(&writable->header->supervisor_pid, (uint32_t) pid);
        atomic_store(&writable->header->supervisor_start_ticks, start_ticks);
        view_read(readable, &view);
        cr_expect(!view.workers[0].is_live);
        cr_expect(view.workers[0].is_gone);
        cr_expect_eq(view_find_session(&view, "orders")->state.word, STATE_WAITING);
        cr_expect_eq(view.supervisor, SUPERVISOR_GONE);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

/* A process of layout 1 takes an entry over and leaves what stands in words that it does not know. */
Test(cli_view, a_word_that_layout_1_does_not_clear_is_nobodys_l3) {
        _cleanup_view_ struct view view = {}, before = {};

        atomic_store(&segment_worker(writable, 0)->confinement, CONFINEMENT_FILES);
        view_read(readable, &view);
        cr_expect_eq(view.workers[0].confinement, CONFINEMENT_FILES, "it says so, and it is its word");
        readable->layout_number = 1;
        view_read(readable, &before);
        cr_expect_eq(before.workers[0].confinement, CONFINEMENT_UNSAID, "perhaps its predecessor's");
}

/* M14: the source is cleaned as far as the session that is behind, and the operator hears which holds it. */
Test(cli_view, a_session_that_holds_the_clean_up_is_told_m14) {
        struct layout_config config = { .session = "refunds/archive",
                                        .source = "refunds",
                                        .url = "sqlite:/r.db?clean-up=delete",
                                        .sibling_slot = 0 };
        _cleanup_view_ struct view view = {};
        char *text;

        cr_assert_eq(slot_configure(writable, 3, 0, &config), 0);
        view_read(readable, &view);
        text = text_of(&view);
        cr_expect(strstr(text,
                         "refunds/archive is waiting: no worker has taken it yet; meanwhile its source is "
                         "not cleaned any further"),
                  "%s", text);
        cr_expect(strstr(text, "refunds is waiting: no worker has taken it yet\n"), "%s", text);
        free(text);
}

/* Each stands in the text, behind the one before it. NULL ends. */
static bool in_order(const char *text, const char *const *parts) {
        for (; *parts; parts++) {
                text = strstr(text, *parts);
                if (!text)
                        return false;
                text += strlen(*parts);
        }
        return true;
}

/* Of many sessions the first screen tells: the destination's line counts, and what is not well stands
 * first, its reason right below it. JSON counts the same and keeps the order of the slots. */
Test(cli_view, what_needs_attention_is_counted_and_stands_first) {
        struct session_status status = { .phase = SESSION_STOPPED, .reason = "the disk is gone" };
        _cleanup_view_ struct view well = {}, view = {};
        json_t *json, *pool, *counts;
        char *text;

        view_read(readable, &well);
        slot_assign(writable, 2, well.workers[0].ref, 0);
        cr_assert_eq(slot_take(writable, 2, well.workers[0].ref, &status.epoch), 0);
        view_done(&well);
        view_read(readable, &well);
        text = text_of(&well);
        cr_expect(strstr(text, "1 of 2 workers, 3 sessions\n"), "all is well, nothing more is said: %s",
                  text);
        free(text);

        session_status_write(writable, 2, &status);
        configure(3, "returns");
        view_read(readable, &view);
        text = text_of(&view);
        cr_expect(strstr(text, "1 of 2 workers, 4 sessions: 1 stopped, 1 waiting\n"), "%s", text);
        cr_expect(in_order(text,
                           (const char *[]){ "\n  SESSION", "\n  refunds  ",
                                             "\n    refunds is stopped: the disk is gone\n", "  returns  ",
                                             "\n    returns is waiting: no worker has taken it yet\n",
                                             "  orders  ", "\n  payments  ", NULL }),
                  "%s", text);
        free(text);
        json = json_of(&view);
        pool = json_array_get(json_object_get(json, "destinations"), 0);
        counts = json_object_get(pool, "session_counts");
        cr_expect_eq(json_integer_value(json_object_get(counts, "all")), 4);
        cr_expect_eq(json_integer_value(json_object_get(counts, "stopped")), 1);
        cr_expect_eq(json_integer_value(json_object_get(counts, "stalled")), 0);
        cr_expect_eq(json_integer_value(json_object_get(counts, "waiting")), 1);
        json_decref(json);
}

Test(cli_view, unknown_is_a_word_and_null_never_zero_c4) {
        _cleanup_view_ struct view view = {};
        json_t *json, *sessions;
        char *text;

        view_read(readable, &view);
        text = text_of(&view);
        cr_assert_not_null(strstr(text, "unknown"), "%s", text);
        free(text);
        json = json_of(&view);
        sessions = json_object_get(json_array_get(json_object_get(json, "destinations"), 0), "sessions");
        cr_assert_eq(json_array_size(sessions), 3);
        cr_assert_eq(json_integer_value(json_object_get(json_array_get(sessions, 0), "lag_events")), 7);
        cr_assert(json_is_null(json_object_get(json_array_get(sessions, 0), "lag_bytes")));
        cr_assert(json_is_null(json_object_get(json_array_get(sessions, 0), "lag_age_usec")));
        cr_assert(json_is_null(json_object_get(json_array_get(sessions, 1), "position")));
        cr_assert(json_is_null(json_object_get(json_array_get(sessions, 0), "events_per_second")));
        json_decref(json);
}

Test(cli_view, rates_need_two_readings_of_a_growing_count) {
        _cleanup_view_ struct view before = {}, view = {};
        struct session_status status = { .phase = SESSION_MOVING };

        view_read(readable, &before);
        cr_assert_eq(session_status_read(readable, 0, &status), 0);
        status.event_count += 500;
        session_status_write(writable, 0, &status);
        view_read(readable, &view);
        view.now_usec = before.now_usec + USEC_PER_SEC / 2;
        view_set_rates(&view, &before);
        cr_assert_float_eq(view.sessions[0].rate, 1000, 1);
        cr_assert_lt(view.sessions[1].rate, 0, "nothing was said, so nothing is known");
        view_set_rates(&before, &view);
        cr_assert_lt(before.sessions[0].rate, 0, "a count that runs backwards is no rate");
}

Test(cli_view, the_supervisor_is_silent_gone_or_running) {
        _cleanup_view_ struct view running = {}, silent = {}, gone = {};
        uint64_t ticks;

        cr_assert_eq(process_start_ticks(getpid(), &ticks), 0);
        atomic_store(&writable->header->supervisor_pid, (uint32_t) getpid());
        atomic_store(&writable->header->supervisor_start_ticks, ticks);
        atomic_store(&writable->header->supervisor_beat_usec, clock_usec());
        view_read(readable, &running);
        cr_assert_eq(running.supervisor, SUPERVISOR_RUNNING);
        atomic_store(&writable->header->supervisor_beat_usec, clock_usec() - 60 * USEC_PER_SEC);
        view_read(readable, &silent);
        cr_assert_eq(silent.supervisor, SUPERVISOR_SILENT);
        atomic_store(&writable->header->supervisor_start_ticks, ticks + 1);
        view_read(readable, &gone);
        cr_assert_eq(gone.supervisor, SUPERVISOR_GONE, "the pid belongs to another process (S6)");
}

Test(cli_view, a_quarantined_slot_is_shown_and_its_session_found_in_the_new_one_s4) {
        _cleanup_view_ struct view view = {};

        atomic_store(&segment_slot(writable, 2)->quarantined, 1);
        configure(3, "refunds");
        view_read(readable, &view);
        cr_assert_eq(view.quarantined_count, 1);
        cr_assert_eq(view_find_session(&view, "refunds")->slot_index, 3);
}

/* xorshift64 */
static uint64_t next_random(uint64_t *random) {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        return *random;
}

static void check_bounds(const struct view *view) {
        cr_assert_leq(view->session_count, SLOTS);
        cr_assert_leq(view->worker_count, WORKERS);
        for (uint32_t i = 0; i < view->session_count; i++) {
                const struct view_session *session = &view->sessions[i];

                cr_assert(text_is_terminated(session->name, sizeof(session->name)));
                cr_assert_lt(session->state.word, STATE_COUNT);
                for (const char *c = session->name; *c; c++)
                        cr_assert_geq((unsigned char) *c, 0x20, "nothing that a terminal obeys");
        }
}

/* Whatever a worker writes over pools, workers, slots, configs and statuses: a reading ends, stays in
 * bounds, and prints text and valid JSON. */
Test(cli_view, nonsense_in_the_segment_is_read_without_harm_p1) {
        uint64_t random = 0x1234567;
        size_t first = LAYOUT_HEADER_BYTES, bytes = writable->bytes;
        uint8_t *base = (uint8_t *) writable->header;
        uint8_t *whole = malloc(bytes);

        cr_assert_not_null(whole);
        memcpy(whole, base, bytes);
        for (unsigned round = 0; round < 400; round++) {
                _cleanup_view_ struct view view = {};
                unsigned spots = 1 + (unsigned) (next_random(&random) % 2000);
                char *text;

                for (unsigned i = 0; i < spots; i++)
                        base[first + next_random(&random) % (bytes - first)] = (uint8_t) next_random(&random);
                atomic_store(&writable->header->slot_used, (uint32_t) next_random(&random));
                atomic_store(&writable->header->supervisor_pid, (uint32_t) next_random(&random));
                view_read(readable, &view);
                check_bounds(&view);
                text = text_of(&view);
                cr_assert_null(strchr(text, '\033'));
                free(text);
                json_decref(json_of(&view));
                memcpy(base, whole, bytes);
        }
        free(whole);
}
