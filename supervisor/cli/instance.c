/* SPDX-License-Identifier: Apache-2.0 */
/* Reads STATE/instance. Must not touch: it; only batond makes one. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "supervisor/cli/instance.h"

static int hex_value(char digit) {
        if (digit >= '0' && digit <= '9')
                return digit - '0';
        if (digit >= 'a' && digit <= 'f')
                return digit - 'a' + 10;
        return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

static int parse(const char *text, uint8_t ret_instance[INSTANCE_BYTES]) {
        uint8_t instance[INSTANCE_BYTES];

        for (size_t i = 0; i < INSTANCE_BYTES; i++) {
                int high = hex_value(text[2 * i]);
                int low = high < 0 ? -1 : hex_value(text[2 * i + 1]);

                if (low < 0)
                        return -EBADMSG;
                instance[i] = (uint8_t) (high << 4 | low);
        }
        for (const char *rest = text + 2 * INSTANCE_BYTES; *rest; rest++)
                if (!isspace((unsigned char) *rest))
                        return -EBADMSG;
        memcpy(ret_instance, instance, sizeof(instance));
        return 0;
}

int instance_read(const char *state_directory, uint8_t ret_instance[INSTANCE_BYTES],
                  struct failure *ret_failure) {
        _cleanup_fd_ int dir_fd = -1;
        _cleanup_free_ char *text = NULL;
        int r;

        assert(state_directory && ret_instance);

        dir_fd = open(state_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = dir_fd < 0 ? -errno : file_read_text(dir_fd, "instance", 256, &text);
        if (r == -ENOENT)
                return failure_set(
                        ret_failure, r, FAILURE_UNAVAILABLE,
                        "%s/instance is not there: Baton has not run with this state directory; name the "
                        "one it uses with --state",
                        state_directory);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "cannot read %s/instance: %s",
                                   state_directory, strerror(-r));
        assert(text); /* it was read */
        r = parse(text, ret_instance);
        if (r < 0)
                return failure_set(
                        ret_failure, r, FAILURE_STOP,
                        "%s/instance does not hold 32 hex digits: it is damaged, or is not Baton's. Restore "
                        "it from a backup, or name another directory with --state",
                        state_directory);
        return 0;
}
