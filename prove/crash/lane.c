/* SPDX-License-Identifier: Apache-2.0 */
/* Names of lanes and points. Must not touch: anything. */
#include <seccomp.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "base/text.h"
#include "prove/crash/crash.h"

static const enum trace_role lane_roles[] = { TRACE_MOVER, TRACE_TAKEOVER, TRACE_CONTROL, TRACE_SUPERVISOR,
                                              TRACE_MEMORY };
static_assert(ELEMENTSOF(lane_roles) * ORDINAL_MAX == LANE_COUNT, "each role has its lanes");

static const char *const phase_names[CRASH_PHASES] = {
        [CRASH_LIFE] = "life", [CRASH_TAKEOVER] = "takeover", [CRASH_RECOVERY] = "recovery"
};

unsigned lane_find(enum trace_role role, unsigned ordinal) {
        for (unsigned i = 0; i < ELEMENTSOF(lane_roles); i++)
                if (lane_roles[i] == role && ordinal >= 1 && ordinal <= ORDINAL_MAX)
                        return i * ORDINAL_MAX + ordinal - 1;
        return LANE_NONE;
}

enum trace_role lane_role(unsigned lane) {
        assert(lane < LANE_COUNT);
        return lane_roles[lane / ORDINAL_MAX];
}

void lane_name(unsigned lane, char *ret_text, size_t bytes) {
        unsigned ordinal = lane % ORDINAL_MAX + 1;

        if (ordinal == 1)
                (void) snprintf(ret_text, bytes, "%s", trace_role_name(lane_role(lane)));
        else
                (void) snprintf(ret_text, bytes, "%s%u", trace_role_name(lane_role(lane)), ordinal);
}

const char *phase_name(enum crash_phase phase) {
        assert((unsigned) phase < CRASH_PHASES);
        return phase_names[phase];
}

const char *call_name(uint64_t number) {
        static char name[32];
        char *found = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int) number);

        (void) snprintf(name, sizeof(name), "%s", found ? found : "unknown");
        free(found);
        return name;
}

void point_format(const struct point *point, char *ret_text, size_t bytes) {
        const char *place = point->fault ? fault_name(point->fault) : point->at_exit ? "exit" : "entry";
        char lane[24], at[16] = "";

        lane_name(point->lane, lane, sizeof(lane));
        if (point->place != 0)
                (void) snprintf(at, sizeof(at), "@%08x", point->place);
        if (point->number == POINT_ANY)
                (void) snprintf(ret_text, bytes, "%s:%s:%u:%s", lane, phase_name(point->phase), point->call,
                                place);
        else
                (void) snprintf(ret_text, bytes, "%s:%s:%s%s.%u:%s", lane, phase_name(point->phase),
                                call_name(point->number), at, point->call, place);
}

static bool lane_parse(const char *text, unsigned *ret_lane) {
        char name[24];

        for (unsigned lane = 0; lane < LANE_COUNT; lane++) {
                lane_name(lane, name, sizeof(name));
                if (strcmp(text, name) == 0) {
                        *ret_lane = lane;
                        return true;
                }
        }
        return false;
}

/* "fdatasync", "fdatasync@1d0c6f3b" */
static bool place_parse(char *name, struct point *point) {
        char *at = strchr(name, '@');
        int end = 0;

        if (!at)
                return true;
        *at++ = '\0';
        /* NOLINTNEXTLINE(cert-err34-c): eight digits, and nothing else */
        return sscanf(at, "%8x%n", &point->place, &end) == 1 && end == 8 && at[8] == '\0';
}

static bool call_parse(const char *text, struct point *point) {
        const char *dot = strrchr(text, '.');
        char name[40];
        uint64_t call;
        int number;

        point->number = POINT_ANY;
        if (dot) {
                (void) snprintf(name, sizeof(name), "%.*s", (int) (dot - text), text);
                if (!place_parse(name, point))
                        return false;
                number = seccomp_syscall_resolve_name(name);
                if (number < 0 || number >= (int) NUMBERS_MAX)
                        return false;
                point->number = (uint16_t) number;
        }
        if (text_parse_u64(dot ? dot + 1 : text, &call) < 0 || call == 0 || call > UINT32_MAX)
                return false;
        point->call = (uint32_t) call;
        return true;
}

bool point_parse(const char *text, struct point *ret_point) {
        char lane[24], phase[24], call[48], place[24];
        struct point point = { 0 };
        int end = 0;

        /* NOLINTNEXTLINE(cert-err34-c): the whole text must be used up */
        if (sscanf(text, "%23[^:]:%23[^:]:%47[^:]:%23[^:]%n", lane, phase, call, place, &end) != 4 ||
            text[end] != '\0' || !call_parse(call, &point) || !lane_parse(lane, &point.lane))
                return false;
        point.at_exit = strcmp(place, "exit") == 0;
        point.fault = fault_find(place);
        if (!point.at_exit && point.fault == FAULT_KILL && strcmp(place, "entry") != 0)
                return false;
        for (unsigned i = 0; i < CRASH_PHASES; i++)
                if (strcmp(phase, phase_names[i]) == 0) {
                        point.phase = (enum crash_phase) i;
                        *ret_point = point;
                        return true;
                }
        return false;
}
