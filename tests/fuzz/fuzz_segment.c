/* SPDX-License-Identifier: Apache-2.0 */
/* The segment as a hostile worker, or one with a stray pointer, may leave it (P1, S4, S5): words overwritten while
 * the supervisor looks, pings, balances, adopts and reports deaths, while worker 0 takes sessions over, gives them
 * up, waits and leaves, and while somebody asks for the status.
 *
 * An input is a list of steps (lib/world.h, lib/scribble.h). Nobody may crash, hang or read out of bounds; only
 * processes that are watched are killed; no wait is without end (S3, S11); and when the others are dead and only
 * workers' words were overwritten, each session is owned again, or what keeps it was told. */
#include <jansson.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "shm/lock.h"
#include "shm/pool.h"
#include "shm/slot.h"
#include "shm/takeover.h"
#include "shm/turn.h"
#include "shm/words.h"
#include "supervisor/cli/status.h"
#include "tests/fuzz/lib/scribble.h"
#include "tests/fuzz/lib/world.h"

#define STEPS_MAX 64

/* ---- status -------------------------------------------------------------------------------------------- */
static void expect_printed(const struct view *view, bool is_json) {
        char *text = NULL;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);
        json_t *json;

        fuzz_must(out, "no memory");
        if (is_json)
                fuzz_must(status_print_json(view, out) == 0, "the status cannot be printed as JSON");
        else
                status_print_text(view, out);
        (void) fclose(out);
        fuzz_must(text_is_harmless(text, bytes, "\n"), "a terminal may obey: %s", text);
        if (is_json) {
                json = json_loadb(text, bytes, 0, NULL);
                fuzz_must(json, "no JSON: %s", text);
                json_decref(json);
        }
        free(text);
}

/* `status`, and `status --json`, which looks twice. */
static void step_status(bool is_json) {
        struct view view = {}, before = {};

        if (is_json)
                view_read(world.segment, &before);
        view_read(world.segment, &view);
        view_set_rates(&view, &before);
        expect_printed(&view, is_json);
        (void) view_find_session(&view, "s1");
        (void) view_find_worker(&view, worker_ref(1, 1));
        view_done(&before);
        view_done(&view);
}

/* ---- worker 0 --------------------------------------------------------------------------------------------- */
static void ignore_slot(void *context, uint32_t slot_index) {
        (void) context;
        fuzz_must(slot_index < world.segment->slot_count, "slot %u", slot_index);
}

static bool never(void *context) {
        (void) context;
        return false;
}

static uint64_t take_ref(struct input *input) {
        uint32_t index = input_u8(input) % WORLD_WORKERS;

        return worker_ref(index, atomic_load(&segment_worker(world.segment, index)->life) >> 8);
}

static void slot_step_run(struct input *input) {
        uint32_t slot = input_u8(input) % WORLD_SLOTS, number;
        struct segment *segment = world.segment;
        uint64_t self = world.self_ref, to_ref, position, epoch = 0;
        enum death_note note;
        struct slot_view view;

        if (slot_read(segment, slot, &view) < 0)
                view.epoch = atomic_load(&segment_slot(segment, slot)->epoch);
        switch (input_u8(input) % 5) {
        case 0:
                (void) slot_take(segment, slot, self, &epoch);
                break;
        case 1:
                to_ref = take_ref(input);
                (void) slot_release(segment, slot, self, view.epoch, to_ref == self ? 0 : to_ref);
                break;
        case 2:
                (void) slot_raise_epoch(segment, slot, self, view.epoch, view.epoch + 1, &epoch);
                break;
        case 3:
                if (slot_take_death_note(segment, slot, self, &note, &number, &position) >= 0)
                        fuzz_must(note <= DEATH_ON_EVENT, "note %d", (int) note);
                break;
        default:
                (void) slot_is_owned_by(segment, slot, self, view.epoch);
                (void) session_durable_get(segment, slot, &position);
                break;
        }
}

static void self_leaves_and_comes_back(void) {
        struct failure failure = { 0 };
        int r;

        life_leave(world.segment, world.self_ref);
        world.self_ref = 0;
        fuzz_must(!lock_is_held(LOCK_LIFE), "it left, and holds its life");
        r = life_enter(world.segment, 0, &world.self_ref, &failure);
        if (r < 0)
                fuzz_must_be_told(r, &failure);
        fuzz_must((r >= 0) == lock_is_held(LOCK_LIFE), "entered: %d", r);
}

static void self_acts(void *context) {
        struct input *input = context;
        struct segment *segment = world.segment;
        struct life_watch watch = { .echo_count = input_u8(input) };
        uint64_t refs[3];
        uint32_t pool;

        switch (input_u8(input) % 8) {
        case 0:
        case 1:
                (void) takeover_run(segment, input_u8(input) % 2, world.self_ref, NULL);
                break;
        case 2:
        case 3:
                slot_step_run(input);
                break;
        case 4:
                (void) life_wait(segment, world.self_ref, &watch, 1);
                (void) life_neighbours(segment, world.self_ref, refs, ELEMENTSOF(refs));
                (void) life_is_proven_dead(segment, take_ref(input));
                break;
        case 5:
                inbox_put(segment, take_ref(input), input_u8(input));
                doorbell_ring(segment, take_ref(input));
                (void) inbox_drain(segment, world.self_ref, ignore_slot, NULL);
                break;
        case 6:
                pool = input_u8(input) % 2;
                if (turn_take(segment, pool, world.self_ref, never, NULL) >= 0)
                        turn_give(segment, pool, world.self_ref);
                break;
        default:
                self_leaves_and_comes_back();
                break;
        }
}

/* ---- the supervisor ------------------------------------------------------------------------------------------ */
static void step_operator(struct input *input) {
        static const char *const names[] = { "a", "b", "s0", "s5", "two/a", "two/b", "nobody" };
        const char *name = names[input_u8(input) % ELEMENTSOF(names)], *error = NULL;
        struct failure failure = { 0 };
        uint64_t request;
        int r;

        if (input_u8(input) % 2)
                r = operator_scale(world.manager, name, input_u8(input) % 8, &error, &failure);
        else
                r = operator_adopt(world.manager, name, &request, &error, &failure);
        if (r < 0) {
                fuzz_must_be_told(r, &failure);
                fuzz_must(error, "no name of an error: %s", failure.text);
        }
}

/* It dies, and the next one adopts what it finds. */
static void step_successor(void) {
        world_end_supervisor();
        world_begin_supervisor();
}

static void step(struct input *input) {
        switch (input_u8(input) % 12) {
        case 0:
        case 1:
        case 2:
                scribble_field(input);
                break;
        case 3:
                scribble_bytes(input);
                break;
        case 4:
        case 5:
                world_self(self_acts, input);
                break;
        case 6:
        case 7:
                world_beat(input_u16(input) * 1000ULL);
                break;
        case 8:
                step_status(input_u8(input) % 2);
                break;
        case 9:
                step_operator(input);
                break;
        case 10:
                world_kill(&fakes[1 + input_u8(input) % (WORLD_MEMBERS - 1)], input_u8(input) % 2);
                break;
        default:
                step_successor();
                break;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
        struct input input = input_of(data, bytes);

        world_begin();
        for (unsigned steps = 0; steps < STEPS_MAX && !input_is_empty(&input); steps++)
                step(&input);
        world_settle();
        step_status(bytes % 2);
        world_end();
        return 0;
}
