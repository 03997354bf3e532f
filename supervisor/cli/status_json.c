/* SPDX-License-Identifier: Apache-2.0 */
/* `status --json`: the same reading for programs. Field names are stable (README.md lists them); what is
 * unknown is null. Must not touch: anything but the FILE it prints to. */
#include <errno.h>
#include <jansson.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "supervisor/cli/format.h"
#include "supervisor/cli/status.h"

/* Numbers of Baton fit 63 bits; what does not is not believed and is null. */
static json_t *number(uint64_t value) {
        return value <= INT64_MAX ? json_integer((json_int_t) value) : json_null();
}

static json_t *number_if(bool is_known, uint64_t value) {
        return is_known ? number(value) : json_null();
}

/* The span from `since` until the view was taken; null where `since` is 0. */
static json_t *age(const struct view *view, uint64_t since_usec) {
        return number_if(since_usec != 0 && since_usec <= view->now_usec, view->now_usec - since_usec);
}

static json_t *text_or_null(const char *text) {
        return text[0] ? json_string(text) : json_null();
}

static const char *worker_state(const struct view *view, const struct view_worker *worker) {
        if (worker->is_gone)
                return "gone";
        if (worker->silent_usec > 0 && worker->silent_usec >= view->stall_timeout_usec)
                return "silent";
        return worker->is_draining ? "draining" : "live";
}

static json_t *worker_json(const struct view *view, const struct view_worker *worker) {
        return json_pack("{s:i, s:o, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:b, s:i}", "worker",
                         (int) worker->index, "pid", number_if(worker->pid > 0, (uint64_t) worker->pid),
                         "state", worker_state(view, worker), "phase", status_phase_name(worker->phase),
                         "sessions", (int) worker->session_count, "events", number(worker->event_count),
                         "commits", number(worker->commit_count), "transaction_usec",
                         age(view, worker->transaction_since_usec), "silent_usec",
                         number(worker->silent_usec), "running_usec", age(view, worker->entered_usec),
                         "takeover_fifo", (int) worker->takeover_is_fifo, "nice", worker->nice);
}

static json_t *path_json(const struct view_session *session) {
        if (!session->has_said || session->status.path == 0)
                return json_null();
        return json_string(session->status.path == 2 ? "fused" : "row");
}

static json_t *session_json(const struct view *view, const struct view_session *session) {
        const struct session_status *status = &session->status;
        bool said = session->has_said;
        json_t *json;

        json = json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "session", session->name,
                         "source", text_or_null(session->source), "state", state_name(session->state.word),
                         "reason", text_or_null(session->state.why), "worker",
                         number_if(session->owner_ref != 0, worker_ref_index(session->owner_ref)), "pid",
                         number_if(session->owner_pid > 0, (uint64_t) session->owner_pid), "epoch",
                         number(session->epoch), "owned_usec",
                         age(view, session->owner_ref ? session->owned_since_usec : 0), "owner_changes",
                         number(session->take_count), "quarantined", (int) session->quarantined);
        if (!json ||
            json_object_update_new(
                    json, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "position",
                                    number_if(said, status->position), "events",
                                    number_if(said, status->event_count), "parked",
                                    number_if(said, status->parked_count), "lag_events",
                                    number(session->lag_events), "lag_bytes", number(session->lag_bytes),
                                    "lag_age_usec", number(session->lag_age_usec), "events_per_second",
                                    session->rate >= 0 ? json_real(session->rate) : json_null(),
                                    "commit_age_usec", age(view, said ? status->commit_last_usec : 0), "path",
                                    path_json(session))) < 0) {
                json_decref(json);
                return NULL;
        }
        return json;
}

static json_t *workers_json(const struct view *view, uint32_t pool_index) {
        json_t *array = json_array();

        for (uint32_t i = 0; i < view->worker_count; i++)
                if (view->workers[i].pool_index == pool_index &&
                    json_array_append_new(array, worker_json(view, &view->workers[i])) < 0) {
                        json_decref(array);
                        return NULL;
                }
        return array;
}

/* pool: NULL for sessions whose destination cannot be read. */
static json_t *sessions_json(const struct view *view, const struct view_pool *pool) {
        json_t *array = json_array();

        for (uint32_t i = 0; i < view->session_count; i++) {
                const struct view_session *session = &view->sessions[i];

                if (pool ? session->pool_index != pool->index
                         : view_find_pool(view, session->pool_index) != NULL)
                        continue;
                if (json_array_append_new(array, session_json(view, session)) < 0) {
                        json_decref(array);
                        return NULL;
                }
        }
        return array;
}

/* Of what is not well; the words are those of a session's state. */
static json_t *counts_json(const struct view_pool *pool) {
        return json_pack("{s:i, s:i, s:i, s:i}", "all", (int) pool->session_count, state_name(STATE_STOPPED),
                         (int) pool->state_counts[STATE_STOPPED], state_name(STATE_STALLED),
                         (int) pool->state_counts[STATE_STALLED], state_name(STATE_WAITING),
                         (int) pool->state_counts[STATE_WAITING]);
}

static json_t *pool_json(const struct view *view, const struct view_pool *pool) {
        char url[LAYOUT_URL_BYTES];

        format_foreign(pool->settings.url, sizeof(pool->settings.url), url, sizeof(url));
        return json_pack("{s:s, s:o, s:s, s:o, s:i, s:b, s:{s:o, s:o, s:o, s:o}, s:o, s:o, s:o}",
                         "destination", pool->settings.name, "url", text_or_null(url), "state",
                         !pool->is_readable                     ? "unreadable"
                         : pool->settings.state == POOL_LEAVING ? "leaving"
                                                                : "active",
                         "workers_wanted", number_if(pool->is_readable, pool->settings.workers_wanted),
                         "workers_live", (int) pool->workers_live, "sync_failed", (int) pool->latched,
                         "takeovers", "count", number(pool->takeover_count), "sessions",
                         number(pool->takeover_slots), "last_age_usec", age(view, pool->takeover_last_usec),
                         "last_span_usec",
                         number_if(pool->takeover_last_usec != 0, pool->takeover_last_span_usec),
                         "session_counts", counts_json(pool), "workers", workers_json(view, pool->index),
                         "sessions", sessions_json(view, pool));
}

static json_t *pools_json(const struct view *view) {
        json_t *array = json_array();

        for (uint32_t i = 0; i < view->pool_count; i++)
                if (json_array_append_new(array, pool_json(view, &view->pools[i])) < 0) {
                        json_decref(array);
                        return NULL;
                }
        return array;
}

static json_t *view_json(const struct view *view) {
        char created[CLOCK_TEXT_BYTES];
        bool running = view->supervisor != SUPERVISOR_NONE;

        clock_format(view->created_realtime_usec, created, sizeof(created));
        return json_pack(
                "{s:{s:s, s:o, s:o, s:o}, s:{s:s, s:i, s:s, s:i, s:i, s:i, s:b}, s:o, s:o, s:o, s:o, s:o}",
                "supervisor", "state", status_supervisor_name(view->supervisor), "pid",
                number_if(running, (uint64_t) view->supervisor_pid), "silent_usec",
                number_if(running, view->supervisor_silent_usec), "waits", text_or_null(view->waits),
                "segment", "instance", view->instance, "layout", (int) view->layout_number, "created",
                created, "slots", (int) view->slot_count, "quarantined", (int) view->quarantined_count,
                "unreadable", (int) view->unreadable_count, "condemned", (int) view->condemned,
                "configuration", number(view->config_generation), "configuration_refused",
                text_or_null(view->config_refused), "stall_timeout_usec", number(view->stall_timeout_usec),
                "destinations", pools_json(view), "sessions_elsewhere", sessions_json(view, NULL));
}

int status_print_json(const struct view *view, FILE *out) {
        json_t *json = view_json(view);
        int r;

        if (!json)
                return -ENOMEM;
        r = json_dumpf(json, out, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        json_decref(json);
        if (r < 0 || fputc('\n', out) == EOF)
                return -EIO;
        return 0;
}
