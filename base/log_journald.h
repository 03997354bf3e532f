/* SPDX-License-Identifier: Apache-2.0 */
/* One entry to journald, in its native protocol. For log.c alone.
 *
 * Not by sd_journal_sendv(): that waits while journald does not read, and supervisor and mover would wait with it. A
 * journald that hangs, or whose disk does, must stop no movement: it is waited for a tenth of a second, once, and until
 * it reads again what it does not take at once is refused.
 * Thread-safe. A child of fork() may send as long as its descriptors are open. */
#pragma once

#include <stdbool.h>
#include <sys/uio.h>

#define LOG_JOURNALD_FIELDS_MAX 20

/* True if stderr is the stream that systemd made for us (JOURNAL_STREAM), and entries can be sent. Opens the socket,
 * once for the life of the process; before other threads are there. */
bool log_journald_open(void);

/* Each field is "NAME=value" without a line break. 0; -EAGAIN: journald does not read now; or another -errno, e.g.
 * -ENOENT where it has gone. */
int log_journald_send(const struct iovec *fields, int count);
