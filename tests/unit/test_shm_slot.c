/* SPDX-License-Identifier: Apache-2.0 */
/* Slots: every pair of state and event against the table in shm/README.md, and what each call does in
 * each of them (S2, S3, S4, S5, M6). */
#include "tests/unit/test_shm_support.h"

/* shm/README.md, "The table of a slot": what follows, or X for a refusal. */
#define X (-1)
static const int readme_table[SLOT_STATE_COUNT][SLOT_EVENT_COUNT] = {
        /*  configure    retire     take        give        handover    release      bereave      raise */
        { SLOT_ORPHAN, X, X, X, X, X, X, X },                                      /* free */
        { X, SLOT_FREE, SLOT_OWNED, SLOT_OWNED, X, X, X, X },                      /* orphan */
        { X, X, X, SLOT_OWNED, SLOT_OWNED, SLOT_ORPHAN, SLOT_ORPHAN, SLOT_OWNED }, /* owned */
};

Test(shm_slot, s2_every_state_with_every_event) {
        for (unsigned state = 0; state < SLOT_STATE_COUNT; state++)
                for (unsigned event = 0; event < SLOT_EVENT_COUNT; event++) {
                        enum slot_state next = SLOT_STATE_COUNT;
                        int want = readme_table[state][event];
                        int r = slot_step((enum slot_state) state, (enum slot_event) event, &next);

                        cr_assert_eq(r, want == X ? -EPERM : 0, "state %u event %u", state, event);
                        cr_assert_eq((int) next, want == X ? SLOT_STATE_COUNT : want, "state %u event %u",
                                     state, event);
                }
        for (unsigned event = 0; event < SLOT_EVENT_COUNT; event++) {
                enum slot_state next;

                cr_assert_eq(slot_step((enum slot_state) 77, (enum slot_event) event, &next), -EPERM, "P1");
        }
}

/* The calls need a live worker that calls; it is a child that does one thing and reports. */
struct order {
        enum { TAKE, RELEASE, RAISE, NOTE, LEAVE } what;
        uint32_t slot_index;
        uint64_t to_ref, epoch;
};
struct answer {
        int r;
        uint64_t epoch;
        enum death_note note;
        uint32_t signal;
};
struct actor {
        struct peer peer;
        int order_fd, answer_fd;
};

static void actor_serve(struct segment *segment, uint64_t ref, int order_fd, int answer_fd) {
        struct order order;

        while (read(order_fd, &order, sizeof order) == sizeof order) {
                struct answer answer = { 0 };

                switch (order.what) {
                case TAKE:
                        answer.r = slot_take(segment, order.slot_index, ref, &answer.epoch);
                        break;
                case RELEASE:
                        answer.r = slot_release(segment, order.slot_index, ref, order.epoch, order.to_ref);
                        break;
                case RAISE:
                        answer.r = slot_raise_epoch(segment, order.slot_index, ref, order.epoch, order.to_ref,
                                                    &answer.epoch);
                        break;
                case NOTE:
                        answer.r = slot_take_death_note(segment, order.slot_index, ref, &answer.note,
                                                        &answer.signal, &answer.epoch);
                        break;
                case LEAVE:
                        life_leave(segment, ref);
                        break;
                }
                if (write(answer_fd, &answer, sizeof answer) != sizeof answer)
                        break;
        }
        _exit(0);
}

static struct actor actor_start(struct segment *segment) {
        struct actor actor;
        int orders[2], answers[2];

        cr_assert_eq(pipe(orders), 0);
        cr_assert_eq(pipe(answers), 0);
        actor.peer.pid = fork();
        cr_assert_geq(actor.peer.pid, 0);
        if (actor.peer.pid == 0) {
                struct failure failure;
                uint64_t ref;

                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (life_enter(segment, 0, &ref, &failure) < 0 ||
                    write(answers[1], &ref, sizeof ref) != sizeof ref)
                        _exit(1);
                actor_serve(segment, ref, orders[0], answers[1]);
        }
        actor.order_fd = orders[1];
        actor.answer_fd = answers[0];
        cr_assert_eq(read(actor.answer_fd, &actor.peer.ref, 8), 8);
        return actor;
}

static struct answer tell(struct actor *actor, struct order order) {
        struct answer answer;

        cr_assert_eq(write(actor->order_fd, &order, sizeof order), (ssize_t) sizeof order);
        cr_assert_eq(read(actor->answer_fd, &answer, sizeof answer), (ssize_t) sizeof answer);
        return answer;
}

static struct answer tell_take(struct actor *actor, uint32_t slot_index) {
        return tell(actor, (struct order){ TAKE, slot_index, 0, 0 });
}

static struct answer tell_release(struct actor *actor, uint32_t slot_index, uint64_t epoch, uint64_t to_ref) {
        return tell(actor, (struct order){ RELEASE, slot_index, to_ref, epoch });
}

static void drop_hint(void *context, uint32_t slot_index) {
        (void) context;
        (void) slot_index;
}

Test(shm_slot, s2_take_is_for_the_assigned_or_the_heir) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment), b = actor_start(segment);
        struct slot_view view;

        cr_assert_eq(tell_take(&a, 0).r, -ENOENT, "no session");
        cr_assert_eq(tell_take(&a, 99).r, -ERANGE);
        sessions_configure(segment, 0, 0, 3);
        cr_assert_eq(tell_take(&a, 0).r, -EPERM, "nobody is assigned");
        slot_assign(segment, 0, a.peer.ref, b.peer.ref);
        cr_assert_eq(tell_take(&b, 0).r, -EPERM, "the assigned one is live");
        cr_assert_eq(tell_take(&a, 0).r, 0);
        view = slot_view_of(segment, 0);
        cr_assert_eq(view.state, SLOT_OWNED);
        cr_assert_eq(view.owner_ref, a.peer.ref);
        cr_assert_eq(view.epoch, EPOCH_BASE + 1, "above the base (S11)");
        cr_assert_eq(view.taken_by, TAKE_ASSIGNED);
        cr_assert(slot_is_owned_by(segment, 0, a.peer.ref, EPOCH_BASE + 1));
        cr_assert(!slot_is_owned_by(segment, 0, a.peer.ref, EPOCH_BASE));
        cr_assert(!slot_is_owned_by(segment, 0, b.peer.ref, EPOCH_BASE + 1));
        cr_assert_eq(tell_take(&a, 0).r, -EBUSY, "its own");
        cr_assert_eq(tell_take(&b, 0).r, -EBUSY);

        slot_assign(segment, 1, worker_ref(7, 1), b.peer.ref);
        cr_assert_eq(tell_take(&a, 1).r, -EPERM);
        cr_assert_eq(tell_take(&b, 1).r, 0, "the heir, where the assigned is not live");
        cr_assert_eq(slot_view_of(segment, 1).taken_by, TAKE_HEIR);

        slot_assign(segment, 2, a.peer.ref, b.peer.ref);
        slot_unwant(segment, 2);
        cr_assert_eq(tell_take(&a, 2).r, -ENOENT);
}

Test(shm_slot, s3_only_the_owner_at_its_epoch_releases) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment), b = actor_start(segment);
        uint64_t epoch;
        struct slot_view view;

        sessions_configure(segment, 0, 0, 1);
        slot_assign(segment, 0, a.peer.ref, b.peer.ref);
        epoch = tell_take(&a, 0).epoch;
        cr_assert_eq(tell_release(&b, 0, epoch, 0).r, -EPERM);
        cr_assert_eq(tell_release(&a, 0, epoch + 1, 0).r, -EPERM);

        cr_assert_eq(tell_release(&a, 0, epoch, b.peer.ref).r, 0);
        view = slot_view_of(segment, 0);
        cr_assert_eq(view.owner_ref, b.peer.ref, "handed over");
        cr_assert_eq(view.previous_ref, a.peer.ref);
        cr_assert_eq(view.epoch, epoch + 1);
        cr_assert_eq(view.take_count, 2);
        cr_assert_eq(view.taken_by, TAKE_HANDOVER);
        cr_assert_eq(tell_release(&a, 0, epoch, b.peer.ref).r, -EPERM, "once");

        cr_assert_eq(tell_release(&b, 0, epoch + 1, 0).r, 0);
        view = slot_view_of(segment, 0);
        cr_assert_eq(view.state, SLOT_ORPHAN, "to nobody");
        cr_assert_eq(view.owner_ref, 0);
        cr_assert_eq(view.epoch, epoch + 1);
        cr_assert_eq(tell_take(&a, 0).epoch, epoch + 2);
}

/* S7: without a supervisor nobody could take a slot whose assigned worker and heir are both gone. */
Test(shm_slot, s7_what_is_released_to_the_gone_goes_on) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment), b = actor_start(segment), c;
        uint32_t rings;
        uint64_t epoch;
        struct slot_view view;

        sessions_configure(segment, 0, 0, 1);
        slot_assign(segment, 0, a.peer.ref, worker_ref(7, 1));
        epoch = tell_take(&a, 0).epoch;
        slot_assign(segment, 0, b.peer.ref, worker_ref(7, 1));
        (void) inbox_drain(segment, a.peer.ref, drop_hint, NULL);
        rings = atomic_load(&segment_worker(segment, worker_ref_index(a.peer.ref))->doorbell);
        (void) tell(&b, (struct order){ LEAVE, 0, 0, 0 });
        cr_assert_eq(tell_release(&a, 0, epoch, b.peer.ref).r, 0);
        view = slot_view_of(segment, 0);
        cr_assert_eq(view.owner_ref, a.peer.ref, "nobody else lives");
        cr_assert_eq(view.epoch, epoch + 1, "S2: an ownership of its own");
        cr_assert_eq(view.taken_by, TAKE_BALANCE);
        cr_assert_eq(inbox_drain(segment, a.peer.ref, drop_hint, NULL), 1, "S12: it is told");
        cr_assert_neq(atomic_load(&segment_worker(segment, worker_ref_index(a.peer.ref))->doorbell), rings);

        c = actor_start(segment);
        slot_assign(segment, 0, b.peer.ref, c.peer.ref);
        cr_assert_eq(tell_release(&a, 0, epoch + 1, b.peer.ref).r, 0);
        view = slot_view_of(segment, 0);
        cr_assert_eq(view.owner_ref, c.peer.ref, "the heir, where that lives");
        cr_assert_eq(view.taken_by, TAKE_HEIR);
}

/* H9: who drains would only have to give it on. */
Test(shm_slot, s7_what_is_released_to_a_draining_worker_goes_on) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment), b = actor_start(segment);
        uint64_t epoch;

        sessions_configure(segment, 0, 0, 1);
        slot_assign(segment, 0, a.peer.ref, 0);
        epoch = tell_take(&a, 0).epoch;
        slot_assign(segment, 0, b.peer.ref, 0);
        atomic_store(&segment_worker(segment, worker_ref_index(b.peer.ref))->drain_ref, b.peer.ref);
        cr_assert_eq(tell_release(&a, 0, epoch, b.peer.ref).r, 0);
        cr_assert_eq(slot_view_of(segment, 0).owner_ref, a.peer.ref);
}

Test(shm_slot, s11_raise_epoch) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment);
        struct answer answer;

        sessions_configure(segment, 0, 0, 1);
        slot_assign(segment, 0, a.peer.ref, 0);
        cr_assert_eq(tell(&a, (struct order){ RAISE, 0, 5, EPOCH_BASE }).r, -EPERM, "not owned");
        (void) tell_take(&a, 0);
        answer = tell(&a, (struct order){ RAISE, 0, EPOCH_BASE + 100, EPOCH_BASE + 1 });
        cr_assert_eq(answer.r, 0);
        cr_assert_eq(answer.epoch, EPOCH_BASE + 100);
        cr_assert(slot_is_owned_by(segment, 0, a.peer.ref, EPOCH_BASE + 100));
        answer = tell(&a, (struct order){ RAISE, 0, 1, EPOCH_BASE + 100 });
        cr_assert_eq(answer.epoch, EPOCH_BASE + 100, "never lowered");
        cr_assert_eq(tell(&a, (struct order){ RAISE, 0, UINT64_MAX, EPOCH_BASE + 1 }).r, -EPERM);
}

Test(shm_slot, s5_configure_unwant_retire) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment);
        struct layout_config config = { .sibling_slot = 0, .session = "again", .source = "again" };
        struct session_config read_back;
        uint64_t position;

        sessions_configure(segment, 0, 0, 1);
        cr_assert_eq(atomic_load(&segment->header->slot_used), 1);
        cr_assert_eq(slot_configure(segment, 0, 0, &config), -EBUSY);
        cr_assert_eq(slot_configure(segment, 16, 0, &config), -ERANGE);
        cr_assert_eq(slot_retire(segment, 0), -EBUSY, "wanted");
        slot_assign(segment, 0, a.peer.ref, 0);
        (void) tell_take(&a, 0);
        session_durable_set(segment, 0, 4711);
        atomic_store(&segment_status(segment, 0)->source_sync_failed, 1);
        atomic_store(&segment_status(segment, 0)->suspect_until, 4711);
        slot_unwant(segment, 0);
        cr_assert_eq(slot_retire(segment, 0), -EBUSY, "owned");
        cr_assert_eq(tell_release(&a, 0, EPOCH_BASE + 1, 0).r, 0);
        cr_assert_eq(slot_retire(segment, 0), 0);
        cr_assert_eq(slot_view_of(segment, 0).state, SLOT_FREE);
        cr_assert_eq(slot_retire(segment, 0), -EBUSY, "free already");
        cr_assert_eq(slot_restore(segment, 0), 0);
        cr_assert_eq(slot_view_of(segment, 0).state, SLOT_ORPHAN);
        cr_assert_eq(slot_restore(segment, 0), -EBUSY, "it does not say that it is free");
        atomic_store(&segment_slot(segment, 0)->state, SLOT_FREE);

        cr_assert_eq(slot_configure(segment, 0, 0, &config), 0);
        cr_assert_eq(session_config_read(segment, 0, &read_back), 0);
        cr_assert_str_eq(read_back.session, "again");
        cr_assert_eq(session_durable_get(segment, 0, &position), -EAGAIN, "M14: not the old session's mark");
        cr_assert_eq(atomic_load(&segment_status(segment, 0)->source_sync_failed), 0,
                     "M7: not its source's fault");
        cr_assert_eq(atomic_load(&segment_status(segment, 0)->suspect_until), 0, "M6: not its suspect");
        cr_assert_eq(slot_view_of(segment, 0).assigned_ref, 0);
        cr_assert_eq(slot_view_of(segment, 0).epoch, EPOCH_BASE + 1, "epochs only grow");
        cr_assert_eq(slot_reconfigure(segment, 1, &config), -ENOENT);
        cr_assert_eq(slot_reconfigure(segment, 0, &config), 0);
}

/* M6, M7: what was known of the session before is no word about the one that has its slot now. */
Test(shm_slot, s5_a_new_session_inherits_no_fault) {
        struct segment *segment = test_segment(8, 16);
        struct layout_status *status = segment_status(segment, 0);
        struct layout_config config = { .sibling_slot = 0, .session = "new", .source = "new" };

        atomic_store(&status->fault_position, 42);
        atomic_store(&status->fault_deaths, 2);
        atomic_store(&status->unknown_deaths, 2);
        atomic_store(&status->suspect, 1);
        atomic_store(&status->suspect_until, 1042);
        atomic_store(&status->source_sync_failed, 1);
        cr_assert_eq(slot_configure(segment, 0, 0, &config), 0);
        cr_assert_eq(atomic_load(&status->fault_position), 0);
        cr_assert_eq(atomic_load(&status->fault_deaths), 0);
        cr_assert_eq(atomic_load(&status->unknown_deaths), 0);
        cr_assert_eq(atomic_load(&status->suspect), 0);
        cr_assert_eq(atomic_load(&status->suspect_until), 0);
        cr_assert_eq(atomic_load(&status->source_sync_failed), 0);
}

/* An unwanted slot whose owner dies becomes an orphan, so that it can be retired. */
Test(shm_slot, s5_unwanted_and_bereaved) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment), b = actor_start(segment);

        sessions_configure(segment, 0, 0, 1);
        slot_assign(segment, 0, a.peer.ref, b.peer.ref);
        (void) tell_take(&a, 0);
        slot_unwant(segment, 0);
        peer_kill(a.peer);
        cr_assert_eq(takeover_run(segment, 0, 0, NULL), 0);
        cr_assert_eq(slot_view_of(segment, 0).state, SLOT_ORPHAN);
        cr_assert_eq(slot_retire(segment, 0), 0);
}

/* S4: three died with their hands on it; the fourth does not touch it. */
Test(shm_slot, s4_quarantine_after_three_attempts) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment);
        struct takeover_result result;
        pthread_mutex_t before;

        sessions_configure(segment, 0, 0, 2);
        slot_assign(segment, 0, a.peer.ref, 0);
        slot_assign(segment, 1, a.peer.ref, 0);
        atomic_store(&segment_slot(segment, 0)->orphan_attempts, 2);
        cr_assert_eq(tell_take(&a, 0).r, 0, "the third attempt is made");
        cr_assert_eq(atomic_load(&segment_slot(segment, 0)->orphan_attempts), 0, "and went well");
        atomic_store(&segment_slot(segment, 1)->orphan_attempts, 3);
        memset(&segment_slot(segment, 1)->mutex, 0xff, sizeof before);
        memcpy(&before, &segment_slot(segment, 1)->mutex, sizeof before);
        cr_assert_eq(takeover_run(segment, 0, a.peer.ref, &result), 0);
        cr_assert_eq(result.quarantined, 1);
        cr_assert(slot_view_of(segment, 1).quarantined);
        cr_assert_arr_eq(&segment_slot(segment, 1)->mutex, &before, sizeof before, "unread, untouched");
        cr_assert_eq(takeover_run(segment, 0, a.peer.ref, &result), 0);
        cr_assert_eq(result.quarantined, 0, "told once");
        cr_assert_eq(tell_take(&a, 1).r, -EUCLEAN);
        slot_unwant(segment, 1);
        cr_assert_eq(slot_retire(segment, 1), -EUCLEAN, "its index is abandoned");
}

/* S4: a mutex that cannot be taken any more quarantines its slot alone. */
Test(shm_slot, s4_a_lost_slot_mutex) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment);

        sessions_configure(segment, 0, 0, 2);
        slot_assign(segment, 0, a.peer.ref, 0);
        slot_assign(segment, 1, a.peer.ref, 0);
        memset(&segment_slot(segment, 0)->mutex, 0x5a, sizeof(pthread_mutex_t));
        cr_assert_eq(tell_take(&a, 0).r, -EUCLEAN);
        cr_assert_eq(tell_take(&a, 1).r, 0);
        cr_assert_eq(atomic_load(&segment->header->condemned), 0);
}

static int hold_slot_for_ever(struct segment *segment, void *argument) {
        if (lock_take(&segment_slot(segment, 0)->mutex, LOCK_SLOT) < 0)
                return 1;
        atomic_store((_Atomic uint32_t *) argument, 1);
        for (;;)
                (void) pause();
}

/* S2, S4: whatever a holder of the slot's mutex left, the next finds an owner or none, never half. */
Test(shm_slot, s4_half_made_changes_are_settled) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment);
        _Atomic uint32_t *is_held = &segment_pool(segment, 63)->latched;
        const struct {
                uint32_t state;
                bool is_owned;
                enum slot_state settled;
        } cases[] = { { SLOT_OWNED, false, SLOT_ORPHAN },
                      { 99, false, SLOT_ORPHAN },
                      { SLOT_ORPHAN, true, SLOT_OWNED } };

        sessions_configure(segment, 0, 0, 1);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                pid_t pid;

                atomic_store(is_held, 0);
                pid = child_run(segment, hold_slot_for_ever, is_held);
                while (atomic_load(is_held) == 0)
                        test_pause();
                atomic_store(&segment_slot(segment, 0)->state, cases[i].state);
                atomic_store(&segment_slot(segment, 0)->owner_ref, cases[i].is_owned ? a.peer.ref : 0);
                cr_assert_eq(kill(pid, SIGKILL), 0);
                (void) child_status(pid);
                /* Any call that takes the slot's mutex mends it. */
                (void) tell(&a, (struct order){ RAISE, 0, 1, 1 });
                cr_assert_eq(slot_view_of(segment, 0).state, cases[i].settled, "case %zu", i);
                cr_assert_eq(atomic_load(&segment_slot(segment, 0)->state), cases[i].settled, "case %zu", i);
        }
}

Test(shm_slot, m6_the_note_is_read_once_by_the_owner) {
        struct segment *segment = test_segment(8, 16);
        struct actor a = actor_start(segment), b = actor_start(segment);
        struct answer answer;

        sessions_configure(segment, 0, 0, 2);
        for (uint32_t i = 0; i < 2; i++) {
                slot_assign(segment, i, a.peer.ref, b.peer.ref);
                (void) tell_take(&a, i);
        }
        atomic_store(&segment_worker(segment, worker_ref_index(a.peer.ref))->note_position, 4711);
        atomic_store(&segment_worker(segment, worker_ref_index(a.peer.ref))->note_is_exact, 1);
        atomic_store(&segment_worker(segment, worker_ref_index(a.peer.ref))->fault_signal, SIGBUS);
        atomic_store(&segment_worker(segment, worker_ref_index(a.peer.ref))->note_slot, 1);
        peer_kill(a.peer);
        cr_assert_eq(takeover_run(segment, 0, b.peer.ref, NULL), 0);
        cr_assert_eq(tell(&b, (struct order){ NOTE, 0, 0, 0 }).note, DEATH_NONE);
        answer = tell(&b, (struct order){ NOTE, 1, 0, 0 });
        cr_assert_eq(answer.r, 0);
        cr_assert_eq(answer.note, DEATH_ON_EVENT);
        cr_assert_eq(answer.signal, SIGBUS);
        cr_assert_eq(answer.epoch, 4711, "the position");
        cr_assert_eq(tell(&b, (struct order){ NOTE, 1, 0, 0 }).note, DEATH_NONE, "once");
        (void) tell_release(&b, 1, slot_view_of(segment, 1).epoch, 0);
        cr_assert_eq(tell(&b, (struct order){ NOTE, 1, 0, 0 }).r, -EPERM, "the owner alone");
}

Test(shm_slot, p1_a_reader_refuses_words_out_of_range) {
        struct segment *segment = test_segment(8, 16);
        struct layout_slot *slot = segment_slot(segment, 0);
        struct slot_view view = { .epoch = 12345 };

        sessions_configure(segment, 0, 0, 1);
        cr_assert_eq(slot_read(segment, 16, &view), -ERANGE);
        atomic_store(&slot->state, 3);
        cr_assert_eq(slot_read(segment, 0, &view), -EBADMSG);
        atomic_store(&slot->state, SLOT_ORPHAN);
        atomic_store(&slot->owner_ref, worker_ref(8, 1));
        cr_assert_eq(slot_read(segment, 0, &view), -EBADMSG);
        atomic_store(&slot->owner_ref, 0);
        atomic_store(&slot->taken_by, 5);
        cr_assert_eq(slot_read(segment, 0, &view), -EBADMSG);
        atomic_store(&slot->taken_by, 0);
        atomic_store(&slot->pool_index, LAYOUT_POOL_COUNT_MAX);
        cr_assert_eq(slot_read(segment, 0, &view), -EBADMSG);
        cr_assert_eq(view.epoch, 12345, "output untouched on failure");
        atomic_store(&slot->pool_index, 0);
        cr_assert_eq(slot_read(segment, 0, &view), 0);
}
