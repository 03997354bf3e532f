/* SPDX-License-Identifier: Apache-2.0 */
/* Arrivals at the destination against the source, in one pass over both. The ordinary arrival is the
 * source's next event; whatever is not is classed:
 *
 *   behind the checkpoint                              unexpected
 *   higher than all before: at the source              found; what was stepped over may be missing
 *                           below the source's first   found, cleaned: the digest sum proves it
 *                           neither                    unexpected
 *   not higher:             was stepped over           found, out of order
 *                           was not                    duplicated
 *
 * Memory: 8 bytes for each position that was stepped over; none for what is in order.
 * Must not touch: anything; the readers read. */
#include <errno.h>
#include <string.h>

#include "supervisor/cli/format.h"
#include "supervisor/cli/verify.h"

/* Positions end at INT64_MAX, so the top bit is free: this one came after all. */
#define CAME (1ULL << 63)

struct verify_compare {
        struct verify_source *source;
        struct verify_result result;
        uint64_t *skipped; /* rising; owned */
        size_t skipped_count, skipped_capacity;
        uint64_t highest, source_rows;
        bool source_is_drained;
};

void verify_note(struct verify_finding *finding, uint64_t position) {
        if (finding->count < VERIFY_EXAMPLE_COUNT)
                finding->examples[finding->count] = position;
        finding->count++;
}

bool verify_result_is_clean(const struct verify_result *result) {
        return result->missing.count == 0 && result->duplicated.count == 0 &&
               result->out_of_order.count == 0 && result->different.count == 0 &&
               result->unexpected.count == 0 && !result->count_differs && !result->digest_differs &&
               !result->is_behind;
}

struct verify_compare *verify_compare_new(struct verify_source *source,
                                          const struct verify_checkpoint *checkpoint, bool digest_is_exact) {
        struct verify_compare *compare = must_have(calloc(1, sizeof(*compare)));

        compare->source = source;
        compare->result.checkpoint = *checkpoint;
        compare->result.digest_is_exact = digest_is_exact;
        return compare;
}

void verify_compare_free(struct verify_compare *compare) {
        if (!compare)
                return;
        free(compare->skipped);
        free(compare);
}

static void skip(struct verify_compare *compare, uint64_t position) {
        if (compare->skipped_count == compare->skipped_capacity) {
                compare->skipped_capacity = MAX_OF(compare->skipped_capacity * 2, (size_t) 256);
                compare->skipped = must_have(reallocarray(compare->skipped, compare->skipped_capacity,
                                                          sizeof(compare->skipped[0])));
        }
        compare->skipped[compare->skipped_count++] = position;
        compare->source_rows++;
}

/* True if the position was stepped over and has not come since; it has now. */
static bool take_skipped(struct verify_compare *compare, uint64_t position) {
        size_t low = 0, high = compare->skipped_count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if ((compare->skipped[middle] & ~CAME) < position)
                        low = middle + 1;
                else
                        high = middle;
        }
        if (low == compare->skipped_count || compare->skipped[low] != position)
                return false;
        compare->skipped[low] |= CAME;
        return true;
}

/* Steps over source events below the position. *ret_event: the first at or above it, or NULL. */
static int skip_below(struct verify_compare *compare, uint64_t position, const struct event **ret_event,
                      struct failure *ret_failure) {
        const struct event *event;
        int r;

        for (;;) {
                r = verify_source_peek(compare->source, compare->result.checkpoint.position, &event,
                                       ret_failure);
                if (r < 0)
                        return r;
                if (!event || event->position >= position)
                        break;
                skip(compare, event->position);
                verify_source_next(compare->source);
        }
        *ret_event = event;
        return 0;
}

static int drain(struct verify_compare *compare, struct failure *ret_failure) {
        const struct event *event;
        int r;

        if (compare->source_is_drained)
                return 0;
        r = skip_below(compare, UINT64_MAX, &event, ret_failure);
        compare->source_is_drained = r >= 0;
        return r;
}

static int arrive_next(struct verify_compare *compare, const struct verify_arrival *arrival,
                       struct failure *ret_failure) {
        struct verify_result *result = &compare->result;
        const struct event *event;
        int r;

        r = skip_below(compare, arrival->position, &event, ret_failure);
        if (r < 0)
                return r;
        compare->highest = arrival->position;
        if (event && event->position == arrival->position) {
                if (!arrival->is_same(arrival, event))
                        verify_note(&result->different, arrival->position);
                compare->source_rows++;
                verify_source_next(compare->source);
                result->found++;
        } else if (arrival->position < verify_source_first(compare->source)) {
                result->cleaned++;
                result->found++;
        } else
                verify_note(&result->unexpected, arrival->position);
        return 0;
}

static int compare_content(struct verify_compare *compare, const struct verify_arrival *arrival,
                           struct failure *ret_failure) {
        enum verify_answer answer;
        int r;

        r = verify_source_compare(compare->source, arrival, &answer, ret_failure);
        if (r >= 0 && answer == VERIFY_OTHER)
                verify_note(&compare->result.different, arrival->position);
        return r;
}

/* Not higher than all before. Where the source was cleaned, only the very same position as the last is
 * known to be a second one. */
static int arrive_again(struct verify_compare *compare, const struct verify_arrival *arrival,
                        struct failure *ret_failure) {
        struct verify_result *result = &compare->result;

        if (take_skipped(compare, arrival->position)) {
                verify_note(&result->out_of_order, arrival->position);
                result->found++;
                return compare_content(compare, arrival, ret_failure);
        }
        if (arrival->position < verify_source_first(compare->source) && arrival->position != compare->highest)
                verify_note(&result->out_of_order, arrival->position);
        else
                verify_note(&result->duplicated, arrival->position);
        return 0;
}

static int arrive_parked(struct verify_compare *compare, const struct verify_arrival *arrival,
                         struct failure *ret_failure) {
        struct verify_result *result = &compare->result;
        int r;

        r = drain(compare, ret_failure);
        if (r < 0)
                return r;
        verify_note(&result->parked, arrival->position);
        if (take_skipped(compare, arrival->position))
                return compare_content(compare, arrival, ret_failure);
        if (arrival->position < verify_source_first(compare->source))
                result->cleaned++;
        else
                verify_note(&result->duplicated, arrival->position);
        return 0;
}

int verify_compare_arrive(struct verify_compare *compare, const struct verify_arrival *arrival,
                          struct failure *ret_failure) {
        struct verify_result *result = &compare->result;

        assert(compare && arrival);

        result->stored++;
        result->digest_sum += arrival->digest;
        if (arrival->position == 0 || arrival->position > result->checkpoint.position) {
                verify_note(&result->unexpected, arrival->position);
                return 0;
        }
        if (arrival->is_parked)
                return arrive_parked(compare, arrival, ret_failure);
        if (arrival->position > compare->highest)
                return arrive_next(compare, arrival, ret_failure);
        return arrive_again(compare, arrival, ret_failure);
}

void verify_compare_out_of_order(struct verify_compare *compare, uint64_t position) {
        verify_note(&compare->result.out_of_order, position);
}

/* Where the source was cleaned, the checkpoint's count says how many there must be; which are missing
 * nobody knows any more. */
static void settle(struct verify_result *result, uint64_t source_rows) {
        const struct verify_checkpoint *checkpoint = &result->checkpoint;
        bool is_cleaned = result->cleaned > 0 || checkpoint->event_count > source_rows;

        result->count_differs = result->stored != checkpoint->event_count;
        if (is_cleaned && result->stored + result->missing.count < checkpoint->event_count)
                result->missing.count = checkpoint->event_count - result->stored;
        result->expected = is_cleaned ? checkpoint->event_count : source_rows;
        if (result->digest_sum != checkpoint->digest_sum) {
                result->digest_differs = result->digest_is_exact;
                result->digest_is_open = !result->digest_is_exact && result->cleaned > 0;
        }
}

int verify_compare_end(struct verify_compare *compare, struct verify_result *ret_result,
                       struct failure *ret_failure) {
        int r;

        assert(compare && ret_result);

        r = drain(compare, ret_failure);
        if (r < 0)
                return r;
        for (size_t i = 0; i < compare->skipped_count; i++)
                if (!(compare->skipped[i] & CAME))
                        verify_note(&compare->result.missing, compare->skipped[i]);
        settle(&compare->result, compare->source_rows);
        *ret_result = compare->result;
        return 0;
}
