/* SPDX-License-Identifier: Apache-2.0 */
/* P7: workers that could not confine themselves to their own files are told once in a life of the supervisor: it is the
 * host's, so of one is of all. Their word is input (P1). Must not touch: anything. */
#include "base/log.h"
#include "shm/life.h"
#include "supervisor/manager.h"

static const char *reason_of(enum worker_confinement confinement) {
        if (confinement == CONFINEMENT_ABSENT)
                return "this kernel has no Landlock (Linux 5.13, CONFIG_SECURITY_LANDLOCK, `landlock` in lsm=)";
        if (confinement == CONFINEMENT_REFUSED)
                return "the kernel refuses Landlock to them (a container's system-call filter?)";
        return NULL;
}

void confinement_look(struct manager *manager) {
        for (size_t i = 0; i < PROCESS_COUNT_MAX && !manager->unconfined_told; i++) {
                const struct process *process = &manager->processes[i];
                const char *reason;

                if (process->pid == 0 || process->ref == 0)
                        continue;
                reason = reason_of(life_confinement(manager->segment, process->ref));
                if (!reason)
                        continue;
                manager->unconfined_told = true;
                log_line(
                        MESSAGE_WORKERS_UNCONFINED, LOG_NOTICE, &(struct log_fields){ .reason = reason },
                        "workers are not confined to their own files: %s. They can reach what Baton's user can "
                        "reach, and move all the same",
                        reason);
        }
}
