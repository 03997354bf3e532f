/* SPDX-License-Identifier: Apache-2.0 */
/* RUNTIME/waiting: what a supervisor waits for that cannot make its segment yet (L5), for `baton status`, which asks
 * nobody. Written by renew.c, read by cli/. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* One line; replaces what it said before. It stands as long as this process lives, or until waits_end(). A failure is
 * of no consequence: the log has it. */
void waits_tell(const char *runtime_directory, const char *text);
void waits_end(const char *runtime_directory);

/* 0, and who waits for what (foreign text, terminated); -ENOENT: nobody does; other -errno. */
int waits_read(const char *runtime_directory, pid_t *ret_pid, char *ret_text, size_t text_bytes);
