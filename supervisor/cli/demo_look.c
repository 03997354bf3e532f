/* SPDX-License-Identifier: Apache-2.0 */
/* The segment as the demo sees it: who owns what, how far it is, how fast it goes. The lag is counted
 * against what the writer has committed, not against what a worker believes.
 * Must not touch: a word of the segment. */
#include <string.h>

#include "base/clock.h"
#include "supervisor/cli/demo.h"
#include "supervisor/cli/view.h"

/* Numbers are given in the order of appearance, and kept: a new process is a new number. */
static unsigned number_of(struct demo *demo, uint64_t ref, int pid) {
        for (unsigned i = 0; i < demo->worker_count; i++)
                if (demo->workers[i].ref == ref)
                        return i + 1;
        if (demo->worker_count == DEMO_WORKER_COUNT_MAX)
                return 0;
        demo->workers[demo->worker_count++] = (struct demo_worker){ .ref = ref, .pid = pid };
        return demo->worker_count;
}

static void look_at_workers(struct demo *demo, const struct view *view) {
        for (unsigned i = 0; i < demo->worker_count; i++)
                demo->workers[i].is_live = false;
        for (uint32_t i = 0; i < view->worker_count; i++) {
                const struct view_worker *worker = &view->workers[i];
                unsigned number = worker->is_live ? number_of(demo, worker->ref, worker->pid) : 0;

                if (number > 0)
                        demo->workers[number - 1].is_live = true;
        }
}

/* Over about the last second: from the oldest sample that is kept. */
static double rate_of(const struct demo *demo, unsigned session, uint64_t now_usec, uint64_t position) {
        uint64_t oldest = demo->sample_count > DEMO_SAMPLE_COUNT ? demo->sample_count - DEMO_SAMPLE_COUNT : 0;
        uint64_t span_usec;
        uint64_t before;

        if (demo->sample_count == 0)
                return -1;
        span_usec = now_usec - demo->samples[oldest % DEMO_SAMPLE_COUNT].usec;
        before = demo->samples[oldest % DEMO_SAMPLE_COUNT].position[session];
        if (span_usec < 100 * USEC_PER_MSEC || position < before)
                return -1;
        return (double) (position - before) * USEC_PER_SEC / (double) span_usec;
}

static void sample(struct demo *demo, uint64_t now_usec, const struct demo_frame *frame) {
        uint64_t last = (demo->sample_count + DEMO_SAMPLE_COUNT - 1) % DEMO_SAMPLE_COUNT;
        uint64_t at = demo->sample_count % DEMO_SAMPLE_COUNT;

        if (demo->sample_count > 0 && now_usec - demo->samples[last].usec < 90 * USEC_PER_MSEC)
                return;
        demo->samples[at].usec = now_usec;
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++)
                demo->samples[at].position[i] = frame->sessions[i].position;
        demo->sample_count++;
}

void demo_look(struct demo *demo, struct demo_frame *ret_frame) {
        struct demo_frame frame = {};
        _cleanup_view_ struct view view = {};

        assert(demo->segment && demo->shared);

        view_read(demo->segment, &view);
        look_at_workers(demo, &view);
        frame.usec = view.now_usec - demo->start_usec;
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++) {
                const struct view_session *session = view_find_session(&view, demo_sessions[i]);
                const struct view_worker *owner = session ? view_find_worker(&view, session->owner_ref)
                                                          : NULL;

                frame.sessions[i].owner = owner ? number_of(demo, owner->ref, owner->pid) : 0;
                if (session && session->has_said && session->status.position != VIEW_UNKNOWN)
                        frame.sessions[i].position = session->status.position;
                else if (demo->sample_count > 0) /* between two owners nothing is said: what was said last */
                        frame.sessions[i].position =
                                demo->samples[(demo->sample_count - 1) % DEMO_SAMPLE_COUNT].position[i];
                frame.sessions[i].written = MAX_OF((uint64_t) atomic_load(&demo->shared->written[i]),
                                                   frame.sessions[i].position);
                frame.sessions[i].rate = rate_of(demo, i, view.now_usec, frame.sessions[i].position);
        }
        memcpy(frame.workers, demo->workers, sizeof(frame.workers));
        frame.worker_count = demo->worker_count;
        sample(demo, view.now_usec, &frame);
        *ret_frame = frame;
}

unsigned demo_live_workers(const struct demo_frame *frame) {
        unsigned count = 0;

        for (unsigned i = 0; i < frame->worker_count; i++)
                count += frame->workers[i].is_live;
        return count;
}

bool demo_one_owner(const struct demo_frame *frame) {
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++)
                if (frame->sessions[i].owner == 0 || frame->sessions[i].owner != frame->sessions[0].owner)
                        return false;
        return true;
}

bool demo_all_moved(const struct demo *demo, const struct demo_frame *frame) {
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++)
                if (frame->sessions[i].position < demo->events)
                        return false;
        return true;
}
