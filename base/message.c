/* SPDX-License-Identifier: Apache-2.0 */
/* The table of kinds of event: names, ids, and how many lines of each are told.
 * Must not touch: anything; it is data. */

#include "base/message.h"

#include "base/macro.h"

#define FEW 3    /* what may go to and fro by the second */
#define SOME 10  /* of one session or destination */
#define MANY 256 /* of workers: as many as there may be (shm/layout.h) */

/* One kind a row: tests/unit/test_messages.sh reads them. */
/* clang-format off */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* clang's: what a row does not say is false */
static const struct message messages[MESSAGE_COUNT] = {
        [MESSAGE_SUPERVISOR_READY] = { "supervisor-ready", "c2d03ff1515a437c9d1b824ac9abaa42", SOME },
        [MESSAGE_SUPERVISOR_STOPPING] = { "supervisor-stopping", "16e64222d5764c4a983d032a3fc3f047", SOME },
        [MESSAGE_SUPERVISOR_STOPPED] = { "supervisor-stopped", "31bbd35b7965469bb023efb74e9e1d58", SOME },
        [MESSAGE_SUPERVISOR_FAILED] = { "supervisor-failed", "46eee538fda04ed487924309dd5163f3", SOME },
        [MESSAGE_SUPERVISOR_HUNG] = { "supervisor-hung", "a319aa7091d8436ba1269033b31cb852", SOME },
        [MESSAGE_SUPERVISOR_DIES_OFTEN] = { "supervisor-dies-often", "2d9084cced9547d5bc613056d7d3999e", SOME },
        [MESSAGE_SUPERVISOR_TROUBLE] = { "supervisor-trouble", "08cc9dbb5b5b425e83ce39edc8ced49c", SOME },
        [MESSAGE_CONFIGURATION_REFUSED] = { "configuration-refused", "28135466de1147baa9e87d2f48fb548d", SOME },
        [MESSAGE_CONFIGURATION_KEPT] = { "configuration-kept", "1e8dd8a5d4f54afd806872496a8ab927", SOME },
        [MESSAGE_CONFIGURATION_ADVICE] = { "configuration-advice", "89c64b6a602b4b63ae8623790f16723e", SOME },
        [MESSAGE_RELOADED] = { "reloaded", "25b281f4ec594ef1a1140ce3d79af753", SOME },
        [MESSAGE_RELOAD_REFUSED] = { "reload-refused", "6f62ec3546e04edc919b84c84c056f72", SOME },
        [MESSAGE_WORKERS_CLEARED] = { "workers-cleared", "7028ed88178640bf9ebf859de914c3ac", SOME },
        [MESSAGE_UPGRADE_BEGINS] = { "upgrade-begins", "64b849bfa1c2434a9bda56fb213175f8", SOME },
        [MESSAGE_UPGRADED] = { "upgraded", "9f18af03c88b403c81f6a4a5dbf09878", SOME },
        [MESSAGE_UPGRADE_REFUSED] = { "upgrade-refused", "5698b98a6eb548e1bbc0ad6557b5dd2a", SOME },
        [MESSAGE_SEGMENT_MADE] = { "segment-made", "07d0b6b30f794e9f801720d134c32f70", SOME },
        [MESSAGE_SEGMENT_ADOPTED] = { "segment-adopted", "6a5788cf16cc48c8a6981924f6c9800f", SOME },
        [MESSAGE_SEGMENT_REFUSED] = { "segment-refused", "fee56e228b91488d9fc906551e8af3bf", SOME },
        [MESSAGE_SEGMENT_WAITS] = { "segment-waits", "c84775c1ed9d44a4863e2d2816801b06", SOME },
        [MESSAGE_SEGMENT_CONDEMNED] = { "segment-condemned", "a032d743c7ba44d49d32f8e45f9ad275", SOME },
        [MESSAGE_SEGMENT_DAMAGED] = { "segment-damaged", "e1bf5561013b4b88a6c12eff32a8505c", SOME },
        [MESSAGE_WORKER_STARTED] = { "worker-started", "b43bf53c1fcf42529728d541167daef7", MANY },
        [MESSAGE_WORKER_NOT_STARTED] = { "worker-not-started", "c6e59093f64d4330ba7eb296a27cd824", SOME },
        [MESSAGE_WORKER_JOINED] = { "worker-joined", "d7e133a8bfee4741966bd49fdcb5920d", MANY },
        [MESSAGE_WORKER_ADOPTED] = { "worker-adopted", "935954fbe4e04eae9bc6a0d3708f9f57", MANY },
        [MESSAGE_WORKER_LEFT] = { "worker-left", "86542e88db8a48688d9332b08d12864b", MANY },
        [MESSAGE_WORKER_ENDED] = { "worker-ended", "e3365e31620442e0aaf2d2759f49e291", MANY },
        [MESSAGE_WORKER_ENDED_UNSEEN] = { "worker-ended-unseen", "b8031be560664748b187d0362acc633a", MANY },
        [MESSAGE_WORKER_DIES_OFTEN] = { "worker-dies-often", "9b3ef4077d314193a6c84b60200e48ed", MANY },
        [MESSAGE_WORKER_HUNG] = { "worker-hung", "f675c2277d96445e8b09abc0f7c86c8a", MANY },
        [MESSAGE_WORKER_LOCK_HELD] = { "worker-lock-held", "c905f6290f18444c9f26ae21d991a744", MANY },
        [MESSAGE_WORKER_OVERDUE] = { "worker-overdue", "15934b9129d84fca83e054b1738af777", MANY },
        [MESSAGE_WORKER_SURVIVES_KILL] = { "worker-survives-kill", "7e1d7cf026744e43b7d91f9d4fc4f633", MANY },
        [MESSAGE_WORKER_WAITS_FOR_DISK] = { "worker-waits-for-disk", "230c0f5e2b4149d9b9a625c0137c2ea9", MANY },
        [MESSAGE_WORKER_FAILED] = { "worker-failed", "e9ac784cfc1042cba668cddcdd4ed662", MANY },
        [MESSAGE_WORKERS_RENEWED] = { "workers-renewed", "d77cda83dc534d13b94f407650ac07b2", SOME },
        [MESSAGE_WORKERS_UNCONFINED] = { "workers-unconfined", "1dfd396061e44b188114e6a4c5912b0d", SOME },
        [MESSAGE_TAKEOVER] = { "takeover", "2fa6416060f3407ea8eac9381b336c43", MANY },
        [MESSAGE_BALANCED] = { "balanced", "2a17b147f4514f968e80fbcae0b76d59", SOME },
        [MESSAGE_SCALED] = { "scaled", "78b2bd46c1f04d39b69f16b0b13a22f6", SOME },
        [MESSAGE_WORKERS_WANTED] = { "workers-wanted", "16ff50f7fd884042a6ad8f67ea0c1529", SOME },
        [MESSAGE_DESTINATION_READDRESSED] = { "destination-readdressed", "2aeda2232dfb4c0f8ec774b15416d4d1", SOME },
        [MESSAGE_DESTINATION_LEFT] = { "destination-left", "1ea8532e80704ad8a06dcfea0923d715", SOME },
        [MESSAGE_DESTINATION_REPLACED] = { "destination-replaced", "bf505b38e50a4092a1dd2972e84a1626", SOME },
        [MESSAGE_LATCH_SET] = { "latch-set", "488743cb4f3e41e286b9f83ceaa07eb4", SOME },
        [MESSAGE_LATCH_LIFTED] = { "latch-lifted", "33a1e4e5dcd140e886c213967029813d", SOME },
        [MESSAGE_JOURNAL_DEAF] = { "journal-deaf", "72f5a8d370bd4cd28ebbacc53f71093d", SOME },
        [MESSAGE_JOURNAL_FINDING] = { "journal-finding", "f9c504cff5c94a7ea480f6c593491562", SOME },
        [MESSAGE_SESSION_OWNED] = { "session-owned", "6574c05906d74f04aeda6a7603759d81", SOME, .is_crowded = true },
        [MESSAGE_SESSION_TAKEN_OVER] = { "session-taken-over", "1a43de2163534f1585a6f552bc929ade", SOME, .is_crowded = true },
        [MESSAGE_SESSION_HANDED_OVER] = { "session-handed-over", "589747893d5f4d0c90ecd26a18605532", SOME, .is_crowded = true },
        [MESSAGE_SESSION_PHASE] = { "session-phase", "e6a11dc57784433cbec98ca7683be69f", SOME },
        [MESSAGE_SESSION_WAITS] = { "session-waits", "9e931233b6ae45108f2d77b4877b90e0", FEW },
        [MESSAGE_SESSION_GOES_ON] = { "session-goes-on", "de1cb10d449a46a1be0011c24bb8363e", FEW },
        [MESSAGE_SESSION_STOPPED] = { "session-stopped", "36d5de82397742a6b2b315cb3e0a4f38", SOME },
        [MESSAGE_SESSION_QUARANTINED] = { "session-quarantined", "2f3e22130b1f467b9b7434b891e4f221", SOME },
        [MESSAGE_SESSION_ADOPTED] = { "session-adopted", "c4b533fd10454c8889f027b5f7ff86a0", SOME },
        [MESSAGE_SESSION_LEFT] = { "session-left", "3fc1f02409da4d28845b5fe6c3f3d30b", SOME },
        [MESSAGE_EVENT_PARKED] = { "event-parked", "bfbafc8d6d864e449b620538d80d522c", SOME },
        [MESSAGE_TAIL_CUT] = { "tail-cut", "df82fa26bda44d6bb82680100ffde67f", SOME },
        [MESSAGE_SOURCE_MARK_FAILED] = { "source-mark-failed", "377fb38899de409cbddedb59d37a88f3", SOME },
        [MESSAGE_CONTROL_REFUSED] = { "control-refused", "1dee46cd6af64a968a4aea01a9ca2f26", SOME },
        [MESSAGE_CONTROL_TROUBLE] = { "control-trouble", "d360aedbedc5462db66266ecf6e3e321", SOME },
        [MESSAGE_BUS_NAME_OWNED] = { "bus-name-owned", "9794717a6fd649a49c8587840944d3bd", SOME },
        [MESSAGE_BUS_NAME_MISSING] = { "bus-name-missing", "5660bf43c9764f2ebc77e6e76e66532e", SOME },
        [MESSAGE_LINES_LOST] = { "lines-lost", "483abdf58d93438e8e710228d7a25e84", SOME },
};
/* clang-format on */

const struct message *message_of(enum message_kind kind) {
        assert(kind < MESSAGE_COUNT);
        assert(messages[kind].id);

        return &messages[kind];
}
