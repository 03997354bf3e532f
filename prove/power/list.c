/* SPDX-License-Identifier: Apache-2.0 */
/* A tape in words, for whoever looks for the cause of a failure. Must not touch: files. */
#include <inttypes.h>
#include <stdio.h>

#include "prove/power/agenda.h"
#include "prove/tracer/tracer.h"

static void list_op(const struct disk *disk, const struct tape_op *op, FILE *file) {
        fprintf(file, "%8" PRIu64 " ", op->begun);
        if (op->ended == TAPE_NEVER)
                fputs("       – ", file);
        else
                fprintf(file, "%8" PRIu64 " ", op->ended);
        if (op->kind == TAPE_MARK) {
                fprintf(file, "---- %s\n", op->name);
                return;
        }
        fprintf(file, "%-11s %7" PRId32 " %-9s %s", trace_role_name((enum trace_role) op->role), op->pid,
                tape_kind_name(op->kind), disk_path(disk, op->file));
        if (op->kind == TAPE_RENAME)
                fprintf(file, " from %s", op->name);
        if (op->kind == TAPE_SIZE)
                fprintf(file, " to %" PRIu64, op->offset);
        else if (tape_is_data(op->kind))
                fprintf(file, " at %" PRIu64 ", %" PRIu64 " bytes%s", op->offset, op->bytes,
                        op->is_synchronous ? ", synchronous" : "");
        fputc('\n', file);
}

void agenda_list(const struct tape *tape, FILE *file) {
        struct disk disk;

        disk_begin(&disk, tape, BLIND_NOT);
        for (size_t i = 0; i < tape->count; i++) {
                const struct tape_op *op = &tape->ops[i];

                if (op->is_base || (op->kind == TAPE_MARK && op->name[0] == '\0'))
                        continue;
                disk_advance(&disk, op->begun);
                list_op(&disk, op, file);
        }
        disk_done(&disk);
}
