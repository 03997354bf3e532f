/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator changes while it all goes on: more and fewer workers, other batches, sources that come and go. */
#include <stdio.h>

#include "prove/torture/torture.h"

enum harm_result harm_scale(struct torture *torture, const struct action *action) {
        static const unsigned sizes[] = { 0, 1, 1, 2, 2, 3, 4, 5 };
        size_t target = action->picks[0] % TARGET_COUNT;
        unsigned workers = sizes[action->picks[1] % ELEMENTSOF(sizes)];

        if (!operator_ask_scale(torture, target, workers))
                return HARM_NOT_YET;
        torture->concerned = 1U << target;
        (void) snprintf(torture->said, sizeof(torture->said), "%s to %u", targets[target].name, workers);
        return HARM_DONE;
}

enum harm_result harm_reload(struct torture *torture, const struct action *action) {
        static const unsigned rows[] = { 1, 7, 50, BATCH_ROWS, 5000 }, msecs[] = { 1, 10, BATCH_MSEC };
        static const size_t guests[] = { ORIGIN_GUEST, ORIGIN_VISITOR };
        size_t target = action->picks[0] % TARGET_COUNT,
               guest = guests[action->picks[1] % ELEMENTSOF(guests)];
        struct target_run *run = &torture->targets[target];

        if (torture->jobs[JOB_RELOAD].pid > 0)
                return HARM_NOT_YET;
        run->batch_rows = rows[action->picks[2] % ELEMENTSOF(rows)];
        run->batch_msec = msecs[action->picks[2] / 8 % ELEMENTSOF(msecs)];
        torture->origins[guest].is_wanted = !torture->origins[guest].is_wanted;
        scene_configure(torture);
        (void) operator_ask_reload(torture);
        (void) snprintf(torture->said, sizeof(torture->said), "%s moves %u at a time, %s %s",
                        targets[target].name, run->batch_rows, origins[guest].name,
                        torture->origins[guest].is_wanted ? "comes" : "goes");
        return HARM_DONE;
}
