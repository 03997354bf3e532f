/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the tape while a scenario runs under the tracer: each system call that changes or syncs something
 * below one directory, of every process that the tracer follows.
 *
 * What is not recorded: *.log, *-shm, the configuration and the harness's own (recorder_ignores()). A call that changes files in a
 * manner that the recorder does not know, or a shared writable mapping of any file but a -shm, is an error:
 * then the tape would lie. Must not touch: the files; the traced processes' memory is read. */
#pragma once

#include "prove/power/tape.h"
#include "prove/tracer/tracer.h"

struct recorder;

/* `root` is an absolute path without links in it. */
void recorder_new(const char *root, struct recorder **ret_recorder);
void recorder_free(struct recorder *recorder);

/* From now on; what is there becomes the base of the tape. Nothing that is traced may write meanwhile. */
void recorder_start(struct recorder *recorder);
void recorder_stop(struct recorder *recorder);
void recorder_mark(struct recorder *recorder, const char *words);

/* For struct tracer_options. */
enum trace_verdict recorder_call(struct recorder *recorder, const struct trace_call *call);
void recorder_process(struct recorder *recorder, const struct trace_process *process);

/* NULL: all is well. */
const char *recorder_error(const struct recorder *recorder);
struct tape *recorder_tape(struct recorder *recorder);

/* A path below the root. */
bool recorder_ignores(const char *path);
