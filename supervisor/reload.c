/* SPDX-License-Identifier: Apache-2.0 */
/* Reload: the whole configuration is read, checked and planned before a single word is written; on any
 * error nothing changes and the sentence says why. What did not change never notices.
 * Must not touch: anything itself; plan.c decides, pools.c writes. */
#include <errno.h>

#include "base/log.h"
#include "supervisor/bus_name.h"
#include "supervisor/manager.h"

static int check_state(const struct manager *manager, struct failure *ret_failure) {
        if (manager->state == MANAGER_SERVING)
                return 0;
        return failure_set(
                ret_failure, -EBUSY, FAILURE_UNAVAILABLE,
                manager->state == MANAGER_STOPPING
                        ? "the supervisor is stopping"
                        : "the supervisor waits for workers of the segment before; try again in a moment");
}

/* A segment's size is fixed. A larger one takes a new segment, which takes that nobody lives in this one. */
int reload_check_geometry(const struct segment *segment, const struct config *config,
                          struct failure *ret_failure) {
        if (config->sessions_max <= segment->slot_count && config->workers_max <= segment->worker_count)
                return 0;
        return failure_set(
                ret_failure, -ENOSPC, FAILURE_STOP,
                "sessions = %u and max-workers = %u need a larger segment than the running one (%u and %u), "
                "which cannot grow; stop Baton (SIGTERM) and start it anew for that",
                config->sessions_max, config->workers_max, segment->slot_count, segment->worker_count);
}

static int reload_checked(struct manager *manager, struct failure *ret_failure) {
        _cleanup_config_ struct config *config = NULL;
        _cleanup_(plan_done) struct plan plan = {};
        int r;

        r = check_state(manager, ret_failure);
        if (r < 0)
                return r;
        r = config_load(manager->config_path, &config, ret_failure);
        if (r < 0) {
                last_good_refused_again(manager, ret_failure);
                return r;
        }
        r = reload_check_geometry(manager->segment, config, ret_failure);
        if (r < 0)
                return r;
        intact_look_at_all(manager);
        r = plan_make(manager->segment, config, &plan, ret_failure);
        if (r < 0)
                return r;
        last_good_keep(manager, config);
        pools_apply(manager, &plan, TAKE(config));
        last_good_applied(manager);
        last_good_mended(manager);
        return 0;
}

int reload(struct manager *manager, struct failure *ret_failure) {
        struct failure failure = {};
        int r;

        r = reload_checked(manager, &failure);
        if (r < 0) {
                log_line(MESSAGE_RELOAD_REFUSED, LOG_ERR, NULL, "nothing was reloaded: %s", failure.text);
                return failure_set(ret_failure, r, failure.kind, "nothing was reloaded: %s", failure.text);
        }
        ping_interval_changed(manager);
        bus_name_apply(manager);
        log_line(MESSAGE_RELOADED, LOG_NOTICE, NULL, "reloaded %s: sessions %u, destinations %u",
                 manager->config_path, manager->config->session_count, manager->config->destination_count);
        look(manager);
        return 0;
}
