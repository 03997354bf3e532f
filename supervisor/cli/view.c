/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the segment once, without a lock, believing nothing (P1, S10): every index is bounded by the
 * geometry that was checked when the file was opened, every text is made harmless, every word out of
 * range is counted and left out. Must not touch: the segment (it is mapped read-only), the supervisor. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "base/url.h"
#include "shm/life.h"
#include "supervisor/cli/format.h"
#include "supervisor/cli/view.h"
#include "supervisor/waits.h"

/* At rest its loop beats about once a second; five times that is silence. */
#define SUPERVISOR_SILENCE_USEC (5 * USEC_PER_SEC)

/* A zombie is gone: a hung supervisor reaps nobody. */
static bool process_is(uint32_t pid, uint64_t start_ticks) {
        _cleanup_fd_ int fd = -1;

        return pid != 0 && pid <= INT32_MAX && process_open((pid_t) pid, start_ticks, &fd) == 0 &&
               !process_has_ended(fd);
}

static uint64_t span_until(uint64_t now_usec, uint64_t since_usec) {
        return since_usec < now_usec ? now_usec - since_usec : 0;
}

static void read_supervisor(const struct layout_header *header, struct view *view) {
        uint32_t pid = atomic_load_explicit(&header->supervisor_pid, memory_order_acquire);
        uint64_t beat_usec = atomic_load(&header->supervisor_beat_usec);

        view->supervisor_pid = (int) pid;
        view->supervisor_silent_usec = span_until(view->now_usec, beat_usec);
        if (pid == 0)
                view->supervisor = SUPERVISOR_NONE;
        else if (!process_is(pid, atomic_load(&header->supervisor_start_ticks)))
                view->supervisor = SUPERVISOR_GONE;
        else if (view->supervisor_silent_usec > SUPERVISOR_SILENCE_USEC)
                view->supervisor = SUPERVISOR_SILENT;
        else
                view->supervisor = atomic_load(&header->stopping) ? SUPERVISOR_STOPPING : SUPERVISOR_RUNNING;
}

static void read_header(const struct segment *segment, struct view *view) {
        const struct layout_header *header = segment->header;
        char refused[LAYOUT_REASON_BYTES];

        read_supervisor(header, view);
        view->layout_number = segment->layout_number;
        view->stall_timeout_usec = atomic_load(&header->stall_timeout_usec);
        view->config_generation = atomic_load(&header->config_generation);
        view->created_realtime_usec = header->created_realtime_usec;
        view->condemned = atomic_load(&header->condemned) != 0;
        if (header_refused_read(segment, refused) < 0)
                view->unreadable_count++;
        else
                format_foreign(refused, sizeof(refused), view->config_refused, sizeof(view->config_refused));
        for (size_t i = 0; i < LAYOUT_INSTANCE_BYTES; i++)
                (void) snprintf(view->instance + 2 * i, 3, "%02x", header->instance[i]);
}

static void read_pools(const struct segment *segment, struct view *view) {
        view->pools = must_have(calloc(MAX_OF(segment->pool_count, 1u), sizeof(view->pools[0])));
        for (uint32_t i = 0; i < segment->pool_count; i++) {
                const struct layout_pool *raw = segment_pool(segment, i);
                struct view_pool pool = { .index = i };
                int r = pool_settings_read(segment, i, &pool.settings);

                if (r == 0 && pool.settings.state == POOL_FREE)
                        continue;
                pool.is_readable = r == 0;
                if (r < 0) {
                        view->unreadable_count++;
                        pool.settings = (struct pool_settings){};
                        (void) snprintf(pool.settings.name, sizeof(pool.settings.name), "(pool %u)", i);
                } else
                        format_foreign(pool.settings.name, sizeof(pool.settings.name), pool.settings.name,
                                       sizeof(pool.settings.name));
                pool.takeover_count = atomic_load(&raw->takeover_count);
                pool.takeover_slots = atomic_load(&raw->takeover_slots);
                pool.takeover_last_usec = atomic_load(&raw->takeover_last_usec);
                pool.takeover_last_span_usec = atomic_load(&raw->takeover_last_span_usec);
                pool.latched = atomic_load(&raw->latched) != 0;
                view->pools[view->pool_count++] = pool;
        }
}

/* An answer is outstanding: since when. */
static uint64_t silent_span(const struct layout_worker *raw, uint64_t now_usec) {
        if (atomic_load(&raw->ping) == atomic_load(&raw->pong))
                return 0;
        return span_until(now_usec, atomic_load(&raw->ping_usec));
}

static struct view_worker read_worker(const struct segment *segment, uint32_t index, uint64_t life,
                                      uint64_t now_usec) {
        const struct layout_worker *raw = segment_worker(segment, index);
        uint32_t phase = atomic_load(&raw->phase), pid = atomic_load(&raw->pid);
        bool exists = process_is(pid, atomic_load(&raw->start_ticks));
        bool says_live = (life & 0xff) == LIFE_LIVE || (life & 0xff) == LIFE_ENTERING;
        struct view_worker worker = {
                .ref = worker_ref(index, life >> 8),
                .index = index,
                .pool_index = atomic_load(&raw->pool_index),
                .pid = pid <= INT32_MAX ? (int) pid : 0,
                .is_live = says_live && exists,
                .is_gone = (says_live && !exists) || (life & 0xff) == LIFE_DEAD,
                .phase = phase < PHASE_COUNT ? (enum worker_phase) phase : PHASE_STARTING,
                .entered_usec = atomic_load(&raw->entered_usec),
                .transaction_since_usec = atomic_load(&raw->transaction_since_usec),
                .silent_usec = silent_span(raw, now_usec),
                .commit_count = atomic_load(&raw->commit_count),
                .event_count = atomic_load(&raw->event_count),
                .takeover_is_fifo = atomic_load(&raw->takeover_is_fifo) == 1,
                .nice = atomic_load(&raw->nice),
        };

        worker.confinement = life_confinement(segment, worker.ref);
        worker.is_draining = atomic_load(&raw->drain_ref) == worker.ref;
        return worker;
}

static void read_workers(const struct segment *segment, struct view *view) {
        view->workers = must_have(calloc(MAX_OF(segment->worker_count, 1u), sizeof(view->workers[0])));
        for (uint32_t i = 0; i < segment->worker_count; i++) {
                const struct layout_worker *raw = segment_worker(segment, i);
                /* Pairs with the release in life_enter(): pid and start are there once it is LIVE. */
                uint64_t life = atomic_load_explicit(&raw->life, memory_order_acquire);

                if ((life & 0xff) == LIFE_FREE || (life & 0xff) == LIFE_LEFT ||
                    (life & 0xff) == LIFE_ABANDONED)
                        continue;
                if ((life & 0xff) >= LIFE_COUNT || atomic_load(&raw->pool_index) >= segment->pool_count) {
                        view->unreadable_count++;
                        continue;
                }
                view->workers[view->worker_count++] = read_worker(segment, i, life, view->now_usec);
        }
}

static struct view_worker *find_worker(const struct view *view, uint64_t ref) {
        for (uint32_t i = 0; i < view->worker_count; i++)
                if (view->workers[i].ref == ref)
                        return &view->workers[i];
        return NULL;
}

static void set_lag(struct view_session *session, uint64_t now_realtime_usec) {
        const struct session_status *status = &session->status;

        session->lag_events = session->has_said ? status->lag_events : VIEW_UNKNOWN;
        session->lag_bytes = session->has_said ? status->lag_bytes : VIEW_UNKNOWN;
        session->lag_age_usec = VIEW_UNKNOWN;
        if (!session->has_said)
                return;
        if (session->lag_events == 0)
                session->lag_age_usec = 0;
        else if (status->oldest_realtime_usec != VIEW_UNKNOWN)
                session->lag_age_usec = span_until(now_realtime_usec, status->oldest_realtime_usec);
}

static void set_state(struct view *view, struct view_session *session, const struct slot_view *slot,
                      bool status_is_read) {
        struct view_pool *pool = (struct view_pool *) view_find_pool(view, session->pool_index);
        struct view_worker *owner = session->owner_ref ? find_worker(view, session->owner_ref) : NULL;
        struct state_facts facts = {
                .slot = slot,
                .status = status_is_read ? &session->status : NULL,
                .owner_is_live = owner && owner->is_live,
                .owner_pid = owner ? owner->pid : 0,
                .owner_silent_usec = owner ? owner->silent_usec : 0,
                .workers_wanted = pool ? pool->settings.workers_wanted : 0,
                .workers_live = pool ? pool->workers_live : 0,
                .now_usec = view->now_usec,
                .stall_timeout_usec = view->stall_timeout_usec,
        };

        state_of_session(&facts, &session->state);
        session->owner_pid = facts.owner_pid;
        if (owner)
                owner->session_count++;
        if (pool) {
                pool->session_count++;
                pool->state_counts[session->state.word]++;
        }
}

static bool is_cleaned(const char *text) {
        const char *clean_up;
        struct url url;

        if (url_parse(text, &url, NULL) < 0)
                return false;
        clean_up = url_get(&url, "clean-up");
        return clean_up && strcmp(clean_up, "keep") != 0;
}

static void read_config(const struct segment *segment, uint32_t slot_index, struct view_session *session) {
        struct session_config config;

        if (session_config_read(segment, slot_index, &config) < 0) {
                (void) snprintf(session->name, sizeof(session->name), "(slot %u)", slot_index);
                return;
        }
        format_foreign(config.session, sizeof(config.session), session->name, sizeof(session->name));
        format_foreign(config.source, sizeof(config.source), session->source, sizeof(session->source));
        session->shares_clean_up = config.sibling_slot != slot_index && is_cleaned(config.url);
}

static void read_session(const struct segment *segment, uint32_t slot_index, struct view *view) {
        struct view_session *session = &view->sessions[view->session_count];
        struct slot_view slot = {};
        bool status_is_read;
        int r;

        *session = (struct view_session){ .slot_index = slot_index, .pool_index = LAYOUT_NONE, .rate = -1 };
        r = slot_read(segment, slot_index, &slot);
        if (r == 0 && slot.state == SLOT_FREE && !slot.quarantined)
                return;
        read_config(segment, slot_index, session);
        status_is_read = session_status_read(segment, slot_index, &session->status) == 0;
        if (!status_is_read)
                session->status = (struct session_status){};
        session->has_said = status_is_read && session->status.epoch != 0;
        if (r < 0)
                view->unreadable_count++;
        session->pool_index = slot.pool_index;
        session->owner_ref = slot.state == SLOT_OWNED ? slot.owner_ref : 0;
        session->epoch = slot.epoch;
        session->owned_since_usec = slot.owned_since_usec;
        session->take_count = slot.take_count;
        session->taken_by = slot.taken_by;
        session->adopt_request = slot.adopt_request;
        session->quarantined = slot.quarantined;
        view->quarantined_count += slot.quarantined;
        set_lag(session, view->now_realtime_usec);
        set_state(view, session, r < 0 ? NULL : &slot, status_is_read);
        view->session_count++;
}

void view_read(const struct segment *segment, struct view *ret_view) {
        struct view view = {
                .now_usec = clock_usec(),
                .now_realtime_usec = clock_realtime_usec(),
        };
        uint32_t used;

        assert(segment && ret_view);

        view.slot_count = segment->slot_count;
        read_header(segment, &view);
        read_pools(segment, &view);
        read_workers(segment, &view);
        for (uint32_t i = 0; i < view.worker_count; i++) {
                struct view_pool *pool = (struct view_pool *) view_find_pool(&view,
                                                                             view.workers[i].pool_index);

                if (pool && view.workers[i].is_live)
                        pool->workers_live++;
        }
        /* The high-water mark is a word like any other: bounded. */
        used = MIN_OF((uint32_t) atomic_load_explicit(&segment->header->slot_used, memory_order_acquire),
                      segment->slot_count);
        view.sessions = must_have(calloc(used + 1, sizeof(view.sessions[0])));
        for (uint32_t i = 0; i < used; i++)
                read_session(segment, i, &view);
        *ret_view = view;
}

bool view_read_waits(const char *runtime_directory, struct view *view) {
        char text[sizeof(view->waits)];
        pid_t pid;

        assert(runtime_directory && view);

        if (waits_read(runtime_directory, &pid, text, sizeof(text)) < 0)
                return false;
        format_foreign(text, sizeof(text), view->waits, sizeof(view->waits));
        view->supervisor = SUPERVISOR_WAITING;
        view->supervisor_pid = (int) pid;
        view->supervisor_silent_usec = 0;
        return true;
}

void view_done(struct view *view) {
        free(view->pools);
        free(view->workers);
        free(view->sessions);
        *view = (struct view){};
}

const struct view_session *view_find_session(const struct view *view, const char *name) {
        const struct view_session *found = NULL;

        /* A quarantined slot may stand beside the session's new one: the new one is meant. */
        for (uint32_t i = 0; i < view->session_count; i++)
                if (strcmp(view->sessions[i].name, name) == 0 && (!found || found->quarantined))
                        found = &view->sessions[i];
        return found;
}

const struct view_pool *view_find_pool(const struct view *view, uint32_t pool_index) {
        for (uint32_t i = 0; i < view->pool_count; i++)
                if (view->pools[i].index == pool_index)
                        return &view->pools[i];
        return NULL;
}

const struct view_worker *view_find_worker(const struct view *view, uint64_t ref) {
        const struct view_worker *worker = ref ? find_worker(view, ref) : NULL;

        return worker && worker->is_live ? worker : NULL;
}

void view_set_rates(struct view *view, const struct view *before) {
        double seconds = (double) (view->now_usec - before->now_usec) / USEC_PER_SEC;

        for (uint32_t i = 0, k = 0; i < view->session_count; i++) {
                struct view_session *session = &view->sessions[i];

                /* Both lists rise by slot. */
                while (k < before->session_count && before->sessions[k].slot_index < session->slot_index)
                        k++;
                if (k == before->session_count || before->sessions[k].slot_index != session->slot_index ||
                    !before->sessions[k].has_said || !session->has_said || seconds <= 0 ||
                    session->status.event_count == VIEW_UNKNOWN ||
                    before->sessions[k].status.event_count > session->status.event_count)
                        continue;
                session->rate = (double) (session->status.event_count -
                                          before->sessions[k].status.event_count) /
                                seconds;
        }
}
