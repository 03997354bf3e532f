/* SPDX-License-Identifier: Apache-2.0 */
/* The demo's last word: each session counted by SQL of its own, at source and destination, with nothing
 * of the mover's. A row counts as found only if all four of its values are the source's.
 * Must not touch: a byte of the databases (read-only). */
#include <errno.h>
#include <stdio.h>

#include "supervisor/cli/demo.h"
#include "supervisor/cli/verify.h"

/* `position` has no type at the destination: "+" keeps seq's from standing in the way of the index. In the
 * order in which they were inserted, each position must be higher than the one before. */
static const char *const questions[] = {
        "SELECT count(*) FROM source.outbox",
        "SELECT count(DISTINCT e.position) FROM baton_events e CROSS JOIN source.outbox o ON o.seq = e.position"
        " WHERE e.session = ?1 AND e.key IS o.key AND e.type IS o.type AND e.at IS o.at AND e.payload IS o.payload",
        "SELECT count(*) FROM source.outbox o WHERE NOT EXISTS"
        " (SELECT 1 FROM baton_events e WHERE e.session = ?1 AND e.position = +o.seq)",
        "SELECT count(*) - count(DISTINCT position) FROM baton_events WHERE session = ?1",
        "SELECT count(*) FROM (SELECT position, lag(position) OVER (ORDER BY rowid) AS before FROM baton_events"
        " WHERE session = ?1) WHERE position <= before",
};

/* Ctrl-C is heard within a long question, too. */
static int pulse(void *context) {
        (void) context;
        return demo_is_interrupted();
}

static int attach(sqlite3 *database, const char *path, const char *outbox, struct failure *ret_failure) {
        sqlite3_stmt *statement = NULL;
        int r;

        r = verify_database_prepare(database, path, "ATTACH ? AS source", &statement, ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_bind_text(statement, 1, outbox, -1, SQLITE_STATIC);
        r = sqlite3_step(statement) == SQLITE_DONE ? 0 : verify_database_fail(database, outbox, ret_failure);
        (void) sqlite3_finalize(statement);
        return r;
}

static int ask(sqlite3 *database, const char *path, const char *sql, const char *session, uint64_t *ret_value,
               struct failure *ret_failure) {
        sqlite3_stmt *statement = NULL;
        int r;

        r = verify_database_prepare(database, path, sql, &statement, ret_failure);
        if (r < 0)
                return r;
        if (sqlite3_bind_parameter_count(statement) > 0)
                (void) sqlite3_bind_text(statement, 1, session, -1, SQLITE_STATIC);
        if (sqlite3_step(statement) == SQLITE_ROW)
                *ret_value = (uint64_t) sqlite3_column_int64(statement, 0);
        else
                r = verify_database_fail(database, path, ret_failure);
        (void) sqlite3_finalize(statement);
        return r;
}

int demo_count_session(const struct demo *demo, unsigned session, struct demo_count *ret_count,
                       struct failure *ret_failure) {
        char path[DEMO_PATH_BYTES], outbox[DEMO_PATH_BYTES];
        _cleanup_database_ sqlite3 *database = NULL;
        struct demo_count count = {};
        uint64_t *const answers[] = { &count.expected, &count.found, &count.missing, &count.duplicated,
                                      &count.out_of_order };
        int r;

        static_assert(ELEMENTSOF(answers) == ELEMENTSOF(questions), "an answer for each question");
        demo_destination_path(demo, path);
        demo_outbox_path(demo, session, outbox);
        r = verify_database_open(path, &database, ret_failure);
        if (r < 0)
                return r;
        sqlite3_progress_handler(database, 100000, pulse, NULL);
        r = attach(database, path, outbox, ret_failure);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(questions); i++)
                r = ask(database, path, questions[i], demo_sessions[session], answers[i], ret_failure);
        if (r < 0)
                return r;
        *ret_count = count;
        return 0;
}
