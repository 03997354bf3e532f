/* SPDX-License-Identifier: Apache-2.0 */
/* The judgement on one session: what stands at the destination against what the source says.
 *
 * The promise (DESIGN.md 1): a prefix of the source's sequence, in order, nothing missing, nothing
 * twice; parked events were stepped over and carry a reason. --final asks for all of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prove/checker/checker.h"

#define LINES_MAX 5 /* examples of each sort */

struct judging {
        const struct check *check;
        const struct session *session;
        struct judgement *result;
};

static void example(uint64_t number, const char *what, const struct session *session, int64_t position,
                    const char *more) {
        if (number <= LINES_MAX)
                printf("  %s: session %s, position %" PRId64 "%s%s\n", what, session->name, position,
                       more[0] ? ", " : "", more);
}

/* As stored: each position above the one before it. */
static void count_order(struct judging *judging) {
        const struct record_list *found = &judging->session->found;

        for (size_t i = 1; i < found->count; i++)
                if (found->items[i].position < found->items[i - 1].position)
                        example(++judging->result->out_of_order, "out of order", judging->session,
                                found->items[i].position, "it stands behind a higher one");
}

static void compare_event(struct judging *judging, const struct record *expected,
                          const struct record *found) {
        char more[128];

        /* A parked line keeps what JSON cannot hold in a shape of its own. */
        if (judging->check->form == FORM_JSON && found->reason)
                return;

        if (expected->no_json) {
                example(++judging->result->different, "different", judging->session, found->position,
                        "its source row has no JSON form and should have been parked");
                return;
        }
        for (int column = 0; column < COLUMN_COUNT; column++) {
                if (expected->hash[column] == found->hash[column] &&
                    expected->class[column] == found->class[column])
                        continue;
                (void) snprintf(more, sizeof(more), "column %s (%s)", column_names[column],
                                expected->class[column] == found->class[column] ? "content"
                                                                                : "storage class");
                example(++judging->result->different, "different", judging->session, found->position, more);
                return;
        }
}

/* Where it is known what must be parked, nothing else may be. */
static void compare_parking(struct judging *judging, const struct record *expected,
                            const struct record *found) {
        bool must = expected->is_poison || expected->no_json;

        if (!judging->check->poison || must == found->is_parked)
                return;
        example(++judging->result->different, "different", judging->session, found->position,
                must ? "it should have been parked" : "it is parked and should not be");
}

/* Positions that stand there, each once: found and parked together, sorted. */
static struct record_list stepped_over(struct judging *judging) {
        const struct session *session = judging->session;
        struct record_list all = {};

        for (size_t i = 0; i < session->found.count; i++)
                record_add(&all, &session->found.items[i]);
        for (size_t i = 0; i < session->parked.count; i++)
                record_add(&all, &session->parked.items[i]);
        record_list_sort(&all);
        return all;
}

/* How far the destination got. Lines and parked lines are two files, and a batch that is being written may
 * stand in one of them and not yet in the other: with --live the lines alone say how far. */
static int64_t highest_position(const struct judging *judging, const struct record_list *all) {
        const struct record_list *found = &judging->session->found;
        int64_t highest = 0;

        if (judging->check->is_final || judging->check->form != FORM_JSON)
                return all->count > 0 ? all->items[all->count - 1].position : 0;
        for (size_t i = 0; i < found->count; i++)
                if (found->items[i].position > highest)
                        highest = found->items[i].position;
        return highest;
}

/* … and what is to be parked behind the last that is may be written next. */
static bool may_come_yet(const struct judging *judging, const struct record *expected) {
        const struct record_list *parked = &judging->session->parked;

        return !judging->check->is_final && judging->check->form == FORM_JSON && expected->no_json &&
               (parked->count == 0 || parked->items[parked->count - 1].position < expected->position);
}

static void count_missing(struct judging *judging, const struct record *expected, int64_t highest) {
        if ((!judging->check->is_final && expected->position >= highest) || may_come_yet(judging, expected))
                return;
        judging->result->expected++;
        example(++judging->result->missing, "missing", judging->session, expected->position, "");
}

static void count_against_source(struct judging *judging, const struct record_list *all) {
        const struct record_list *expected = &judging->session->expected;
        struct judgement *result = judging->result;
        int64_t highest = highest_position(judging, all);
        size_t e = 0, a = 0;

        while (e < expected->count || a < all->count) {
                const struct record *want = e < expected->count ? &expected->items[e] : NULL;
                const struct record *have = a < all->count ? &all->items[a] : NULL;

                if (have && a > 0 && have->position == all->items[a - 1].position) {
                        example(++result->duplicated, "duplicated", judging->session, have->position, "");
                        a++;
                } else if (want && have && want->position == have->position) {
                        result->expected++;
                        compare_event(judging, want, have);
                        compare_parking(judging, want, have);
                        e++, a++;
                } else if (have && (!want || have->position < want->position)) {
                        example(++result->unexpected, "unexpected", judging->session, have->position,
                                "the source has no such event");
                        a++;
                } else {
                        count_missing(judging, want, highest);
                        e++;
                }
        }
}

static void list_parked(struct judging *judging) {
        const struct record_list *parked = &judging->session->parked;

        for (size_t i = 0; i < parked->count; i++) {
                const struct record *record = &parked->items[i];

                if (!record->reason || record->reason[0] == '\0')
                        example(++judging->result->different, "different", judging->session, record->position,
                                "it is parked without a reason");
                else
                        example(i + 1, "parked", judging->session, record->position, record->reason);
        }
}

/* SQLite: the checkpoint stands in the transaction of the events, so it agrees with them always. */
static void compare_checkpoint(struct judging *judging, const struct record_list *all) {
        const struct checkpoint_row *row = &judging->session->checkpoint;
        int64_t highest = all->count > 0 ? all->items[all->count - 1].position : 0;
        uint64_t digest_sum = 0;

        for (size_t i = 0; i < all->count; i++)
                digest_sum += all->items[i].digest;
        if (!row->present && all->count == 0)
                return;
        if (row->present && row->position == highest && row->event_count == (int64_t) all->count &&
            row->parked_count == (int64_t) judging->session->parked.count && row->digest_sum == digest_sum)
                return;
        judging->result->checkpoint_differs = true;
        if (!row->present)
                printf("  checkpoint: session %s has rows and no checkpoint\n", judging->session->name);
        else
                printf("  checkpoint: session %s says position %" PRId64 ", %" PRId64 " events (%" PRId64
                       " parked), digest sum %016" PRIx64 "; the rows say %" PRId64 ", %zu (%zu), %016" PRIx64
                       "\n",
                       judging->session->name, row->position, row->event_count, row->parked_count,
                       row->digest_sum, highest, all->count, judging->session->parked.count, digest_sum);
}

bool judge(const struct check *check, const struct session *session, struct judgement *ret_judgement) {
        struct judgement result = { .found = session->found.count, .parked = session->parked.count };
        struct judging judging = { check, session, &result };
        struct record_list all = stepped_over(&judging);
        /* A claim alone, position 0 and no row, says nothing of an event. */
        bool known = session->source || session->ledger ||
                     (all.count == 0 && session->checkpoint.position == 0);

        count_order(&judging);
        count_against_source(&judging, &all);
        list_parked(&judging);
        if (check->form == FORM_STORED)
                compare_checkpoint(&judging, &all);
        free(all.items); /* the reasons belong to the session's own lists */
        if (!known)
                printf("  unknown session %s\n", session->name);

        printf("session %s: expected %" PRIu64 ", found %" PRIu64 ", missing %" PRIu64 ", duplicated %" PRIu64
               ", out of order %" PRIu64 ", different %" PRIu64 ", unexpected %" PRIu64 ", parked %" PRIu64
               "\n",
               session->name, result.expected, result.found, result.missing, result.duplicated,
               result.out_of_order, result.different, result.unexpected, result.parked);
        *ret_judgement = result;
        return known && !result.missing && !result.duplicated && !result.out_of_order && !result.different &&
               !result.unexpected && !result.checkpoint_differs;
}
