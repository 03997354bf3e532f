/* SPDX-License-Identifier: Apache-2.0 */
/* What a run has seen, in lines that a person reads. Must not touch: the run. */
#include <inttypes.h>
#include <stdio.h>

#include "prove/torture/torture.h"

static void print_harms(uint32_t harms) {
        const char *separator = "";

        for (enum harm harm = 0; harm < HARM_COUNT; harm++)
                if (harms & 1U << harm) {
                        printf("%s%s", separator, harm_kinds[harm].name);
                        separator = ", ";
                }
        if (harms == 0)
                printf("nothing");
}

static void print_gaps(const struct torture *torture) {
        for (size_t i = 0; i < TARGET_COUNT; i++) {
                const struct target_run *target = &torture->targets[i];

                printf("longest gap in commits to %-6s %9.3f s, with: ", targets[i].name,
                       (double) target->longest.usec / 1e6);
                print_harms(target->longest.harms);
                printf("; %.3f s where processes were killed and nothing else\n",
                       (double) target->longest_of_deaths.usec / 1e6);
        }
}

static void print_harm_counts(const struct torture *torture) {
        const char *separator = "";

        printf("done: ");
        for (enum harm harm = 0; harm < HARM_COUNT; harm++)
                if (!torture->harms[harm].is_missing) {
                        printf("%s%s %" PRIu64, separator, harm_kinds[harm].name, torture->harms[harm].count);
                        separator = ", ";
                }
        printf("\n");
        for (enum harm harm = 0; harm < HARM_COUNT; harm++)
                if (torture->harms[harm].is_missing)
                        printf("skipped: %s, because %s\n", harm_kinds[harm].name,
                               torture->harms[harm].reason);
}

void torture_report(struct torture *torture) {
        const struct counts *counts = &torture->counts;
        uint64_t takeovers = 0, looks = 0, refusals = 0;

        for (size_t i = 0; i < TARGET_COUNT; i++) {
                takeovers += torture->targets[i].takeovers;
                looks += torture->targets[i].judge.looks;
                refusals += torture->targets[i].judge.refusals;
        }
        print_harm_counts(torture);
        printf("killed: workers %" PRIu64 " by SIGKILL (%" PRIu64 " before they joined), %" PRIu64
               " by SIGSEGV, %" PRIu64 " by the out-of-memory killer, %" PRIu64
               " by the supervisor for their silence; "
               "supervisors %" PRIu64 " by SIGKILL, %" PRIu64 " by SIGSEGV\n",
               counts->workers_killed, counts->workers_killed_joining, counts->workers_segv,
               counts->workers_out_of_memory, counts->workers_killed_stalled, counts->supervisors_killed,
               counts->supervisors_segv);
        printf("stopped and resumed: %" PRIu64 " workers, %" PRIu64
               " supervisors; restarted in order: %" PRIu64 "; reboots: %" PRIu64
               "; adopted by hand after a disk failed: %" PRIu64 "\n",
               counts->workers_resumed, counts->supervisors_resumed, counts->supervisors_restarted,
               counts->reboots, counts->adoptions);
        printf("takeovers: %" PRIu64 "\n", takeovers);
        print_gaps(torture);
        printf("events moved: %" PRIu64 " in %zu sessions; the judge looked %" PRIu64 " times (%" PRIu64
               " times it could not), calms %" PRIu64 "\n",
               counts->events, torture->session_count, looks, refusals, torture->calm.count);
}
