/* SPDX-License-Identifier: Apache-2.0 */
/* `status` for people: one block for each destination, columns aligned, what needs attention counted in
 * its first line and standing first, each reason below its session: of many, the first screen tells.
 * Must not touch: anything but the FILE it prints to. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "supervisor/cli/format.h"
#include "supervisor/cli/status.h"

const char *status_supervisor_name(enum supervisor_state state) {
        static const char *const names[] = {
                [SUPERVISOR_RUNNING] = "running", [SUPERVISOR_STOPPING] = "stopping",
                [SUPERVISOR_SILENT] = "silent",   [SUPERVISOR_GONE] = "gone",
                [SUPERVISOR_NONE] = "none",       [SUPERVISOR_WAITING] = "waiting",
        };

        assert((size_t) state < ELEMENTSOF(names));
        return names[state];
}

const char *status_phase_name(enum worker_phase phase) {
        static const char *const names[PHASE_COUNT] = {
                [PHASE_STARTING] = "starting",     [PHASE_IDLE] = "idle",
                [PHASE_READING] = "reading",       [PHASE_WRITING] = "writing",
                [PHASE_COMMITTING] = "committing", [PHASE_WAITING] = "waiting",
                [PHASE_DRAINING] = "draining",
        };

        assert(phase < PHASE_COUNT);
        return names[phase];
}

static void print_supervisor(const struct view *view, FILE *out) {
        char span[FORMAT_BYTES];

        switch (view->supervisor) {
        case SUPERVISOR_RUNNING:
                fprintf(out, "supervisor running (pid %d)\n", view->supervisor_pid);
                break;
        case SUPERVISOR_STOPPING:
                fprintf(out, "supervisor stopping (pid %d): workers finish their batches and leave\n",
                        view->supervisor_pid);
                break;
        case SUPERVISOR_SILENT:
                fprintf(out,
                        "supervisor not answering for %s (pid %d); workers go on without it, but nobody "
                        "replaces one that dies\n",
                        format_span(view->supervisor_silent_usec, span), view->supervisor_pid);
                break;
        case SUPERVISOR_GONE:
                fprintf(out,
                        "supervisor not running (pid %d gone); start it with `baton run`: it adopts the "
                        "workers that are there\n",
                        view->supervisor_pid);
                break;
        case SUPERVISOR_WAITING:
                fprintf(out, "supervisor waiting (pid %d): %s\n", view->supervisor_pid, view->waits);
                break;
        case SUPERVISOR_NONE:
                fputs("supervisor not running; start it with `baton run`\n", out);
                break;
        }
        if (view->condemned)
                fputs("the segment is condemned: a lock was lost in it; workers leave it, and the supervisor "
                      "makes a new one\n",
                      out);
        if (view->config_refused[0])
                fprintf(out,
                        "the configuration is refused, and the last good one goes on: %s; correct it, then "
                        "`baton reload`\n",
                        view->config_refused);
        if (view->unreadable_count > 0)
                fprintf(out,
                        "%u records of the segment could not be read and are left out or shown by number\n",
                        view->unreadable_count);
}

/* Words in the order in which an operator looks at them; the rest is well. */
static const enum session_state urgent[] = { STATE_STOPPED, STATE_STALLED, STATE_WAITING };

/* ": 1 stopped, 2 waiting"; nothing when all is well. */
static void print_urgent_counts(const struct view_pool *pool, FILE *out) {
        const char *separator = ": ";
        char count[FORMAT_BYTES];

        for (size_t i = 0; i < ELEMENTSOF(urgent); i++) {
                if (pool->state_counts[urgent[i]] == 0)
                        continue;
                fprintf(out, "%s%s %s", separator, format_count(pool->state_counts[urgent[i]], count),
                        state_name(urgent[i]));
                separator = ", ";
        }
}

static void print_pool_line(const struct view *view, const struct view_pool *pool, FILE *out) {
        char url[LAYOUT_URL_BYTES], span[FORMAT_BYTES], count[FORMAT_BYTES];

        format_foreign(pool->settings.url, sizeof(pool->settings.url), url, sizeof(url));
        fprintf(out, "\ndestination %s%s%s: %u of %u worker%s, %s session%s", pool->settings.name,
                url[0] ? "  " : "", url, pool->workers_live, pool->settings.workers_wanted,
                pool->settings.workers_wanted == 1 ? "" : "s", format_count(pool->session_count, count),
                pool->session_count == 1 ? "" : "s");
        print_urgent_counts(pool, out);
        fputs(pool->settings.state == POOL_LEAVING ? "; leaving the configuration\n" : "\n", out);
        if (!pool->is_readable)
                fputs("  its settings cannot be read: they are torn, or out of range\n", out);
        if (pool->latched)
                fputs("  a sync failed here: nothing is cleaned at the sources until the bytes are written anew\n",
                      out);
        if (pool->takeover_count == 0)
                return;
        fprintf(out, "  %s takeover%s", format_count(pool->takeover_count, count),
                pool->takeover_count == 1 ? "" : "s");
        fprintf(out, " of %s session%s", format_count(pool->takeover_slots, count),
                pool->takeover_slots == 1 ? "" : "s");
        if (pool->takeover_last_usec != 0 && pool->takeover_last_usec <= view->now_usec) {
                fprintf(out, ", the last %s ago",
                        format_span(view->now_usec - pool->takeover_last_usec, span));
                fprintf(out, " in %s", format_span(pool->takeover_last_span_usec, span));
        }
        fputs("\n", out);
}

static const char *worker_note(const struct view *view, const struct view_worker *worker, char *buffer,
                               size_t buffer_bytes) {
        char span[FORMAT_BYTES];

        if (worker->is_gone)
                return "gone";
        if (worker->silent_usec >= view->stall_timeout_usec && worker->silent_usec > 0)
                (void) snprintf(buffer, buffer_bytes, "not answering for %s",
                                format_span(worker->silent_usec, span));
        else if (worker->is_draining)
                return "leaving";
        else if (worker->transaction_since_usec != 0 && worker->transaction_since_usec < view->now_usec)
                (void) snprintf(buffer, buffer_bytes, "in a transaction for %s",
                                format_span(view->now_usec - worker->transaction_since_usec, span));
        else
                return worker->takeover_is_fifo ? "" : "takeover at ordinary priority";
        return buffer;
}

static void print_workers(const struct view *view, const struct view_pool *pool, FILE *out) {
        static const char *const titles[] = { "WORKER", "PID", "PHASE", "SESSIONS", "EVENTS", "COMMITS", "" };
        _cleanup_table_ struct table table = { .align = "rrlrrrl" };
        char note[128], a[FORMAT_BYTES], b[FORMAT_BYTES];

        for (size_t i = 0; i < ELEMENTSOF(titles); i++)
                table_cell(&table, "%s", titles[i]);
        for (uint32_t i = 0; i < view->worker_count; i++) {
                const struct view_worker *worker = &view->workers[i];

                if (worker->pool_index != pool->index)
                        continue;
                table_cell(&table, "%u", worker->index);
                if (worker->pid > 0)
                        table_cell(&table, "%d", worker->pid);
                else
                        table_cell(&table, "unknown");
                table_cell(&table, "%s", status_phase_name(worker->phase));
                table_cell(&table, "%u", worker->session_count);
                table_cell(&table, "%s", format_count(worker->event_count, a));
                table_cell(&table, "%s", format_count(worker->commit_count, b));
                table_cell(&table, "%s", worker_note(view, worker, note, sizeof(note)));
        }
        if (table.cell_count > ELEMENTSOF(titles))
                table_print(&table, 2, out);
}

static void session_cells(const struct view_session *session, bool with_rate, struct table *table) {
        const struct session_status *status = &session->status;
        char text[FORMAT_BYTES];

        table_cell(table, "%s", session->name);
        table_cell(table, "%s", state_name(session->state.word));
        if (session->owner_ref && session->owner_pid > 0)
                table_cell(table, "%u (pid %d)", worker_ref_index(session->owner_ref), session->owner_pid);
        else if (session->owner_ref)
                table_cell(table, "%u (unknown)", worker_ref_index(session->owner_ref));
        else
                table_cell(table, "nobody");
        /* An epoch is segment number × 2^32 + changes of owner: shown as the two, like "3.17". */
        table_cell(table, "%" PRIu64 ".%" PRIu64, session->epoch >> 32, session->epoch & UINT32_MAX);
        table_cell(table, "%s", format_count(session->has_said ? status->position : VIEW_UNKNOWN, text));
        table_cell(table, "%s", format_count(session->has_said ? status->event_count : VIEW_UNKNOWN, text));
        if (with_rate && session->rate >= 0)
                table_cell(table, "%s/s", format_count((uint64_t) (session->rate + 0.5), text));
        else if (with_rate)
                table_cell(table, "unknown");
        table_cell(table, "%s", format_count(session->lag_events, text));
        table_cell(table, "%s", format_size(session->lag_bytes, text));
        table_cell(table, "%s", session->lag_events == 0 ? "-" : format_span(session->lag_age_usec, text));
        table_cell(table, "%s", format_count(session->has_said ? status->parked_count : VIEW_UNKNOWN, text));
}

static uint32_t urgent_mask(void) {
        uint32_t mask = 0;

        for (size_t i = 0; i < ELEMENTSOF(urgent); i++)
                mask |= 1u << urgent[i];
        return mask;
}

/* The pool's sessions in one of these states, with their reasons. */
static void session_rows(const struct view *view, uint32_t pool_index, uint32_t states, bool with_rate,
                         struct table *table) {
        for (uint32_t i = 0; i < view->session_count; i++) {
                const struct view_session *session = &view->sessions[i];

                if (session->pool_index != pool_index || !(states & 1u << session->state.word))
                        continue;
                session_cells(session, with_rate, table);
                if (session->state.why[0])
                        table_note(table, "%s is %s: %s%s", session->name, state_name(session->state.word),
                                   session->state.why,
                                   session->shares_clean_up
                                           ? "; meanwhile its source is not cleaned any further"
                                           : "");
        }
}

static void print_sessions(const struct view *view, uint32_t pool_index, bool with_rate, FILE *out) {
        static const char *const titles[] = { "SESSION", "STATE", "OWNER", "EPOCH", "POSITION", "EVENTS",
                                              "RATE",    "LAG",   "BYTES", "AGE",   "PARKED" };
        _cleanup_table_ struct table table = { .align = with_rate ? "lllrrrrrrrr" : "lllrrrrrrr" };
        size_t title_cells;

        for (size_t i = 0; i < ELEMENTSOF(titles); i++)
                if (with_rate || i != 6)
                        table_cell(&table, "%s", titles[i]);
        title_cells = table.cell_count;
        for (size_t i = 0; i < ELEMENTSOF(urgent); i++)
                session_rows(view, pool_index, 1u << urgent[i], with_rate, &table);
        session_rows(view, pool_index, ~urgent_mask(), with_rate, &table);
        if (table.cell_count > title_cells)
                table_print(&table, 2, out);
}

static bool is_sampled(const struct view *view) {
        for (uint32_t i = 0; i < view->session_count; i++)
                if (view->sessions[i].rate >= 0)
                        return true;
        return false;
}

/* Sessions whose destination could not be read, and slots that were given up. */
static void print_rest(const struct view *view, FILE *out) {
        bool titled = false;

        for (uint32_t i = 0; i < view->session_count; i++) {
                const struct view_session *session = &view->sessions[i];

                if (view_find_pool(view, session->pool_index))
                        continue;
                if (!titled)
                        fputs("\nwithout a destination that can be read\n", out);
                titled = true;
                fprintf(out, "  %s is %s: %s\n", session->name, state_name(session->state.word),
                        session->state.why);
        }
        if (view->quarantined_count > 0)
                fprintf(out, "\n%u of %u slots quarantined\n", view->quarantined_count, view->slot_count);
}

void status_print_text(const struct view *view, FILE *out) {
        bool with_rate = is_sampled(view);

        print_supervisor(view, out);
        for (uint32_t i = 0; i < view->pool_count; i++) {
                print_pool_line(view, &view->pools[i], out);
                print_workers(view, &view->pools[i], out);
                print_sessions(view, view->pools[i].index, with_rate, out);
        }
        if (view->pool_count == 0)
                fputs("no destination is configured in it yet\n", out);
        print_rest(view, out);
}
