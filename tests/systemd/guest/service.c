/* SPDX-License-Identifier: Apache-2.0 */
/* systemctl, as an administrator types it. Must not touch: anything but through it. */
#include <dirent.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/systemd/guest/guest.h"

static char command[4096]; /* the last one */

static int shell_list(struct guest *guest, const char *format, va_list arguments) {
        char sh[] = "sh", option[] = "-c";
        char *argv[] = { sh, option, command, NULL };

        (void) vsnprintf(command, sizeof(command), format, arguments);
        return world_run_list(&guest->world, argv);
}

int shell_code(struct guest *guest, const char *format, ...) {
        va_list arguments;
        int code;

        va_start(arguments, format);
        code = shell_list(guest, format, arguments);
        va_end(arguments);
        return code;
}

void shell(struct guest *guest, const char *format, ...) {
        va_list arguments;
        int code;

        va_start(arguments, format);
        code = shell_list(guest, format, arguments);
        va_end(arguments);
        if (code != 0)
                world_fail(&guest->world, "%s: exit code %d\n%s", command, code, guest->world.output);
}

void shell_until(struct guest *guest, const char *format, ...) {
        uint64_t since_usec = wait_begin();

        for (;;) {
                va_list arguments;
                int code;

                va_start(arguments, format);
                code = shell_list(guest, format, arguments);
                va_end(arguments);
                if (code == 0)
                        return;
                wait_step(&guest->world, since_usec, command, __FILE__, __LINE__);
        }
}

const char *unit_property(struct guest *guest, const char *unit, const char *name) {
        static char value[1024];

        shell(guest, "systemctl show --value -p %s %s", name, unit);
        (void) snprintf(value, sizeof(value), "%.1000s", guest->world.output);
        value[strcspn(value, "\n")] = '\0';
        return value;
}

bool unit_is(struct guest *guest, const char *unit, const char *state, const char *substate) {
        return strcmp(unit_property(guest, unit, "ActiveState"), state) == 0 &&
               (!substate || strcmp(unit_property(guest, unit, "SubState"), substate) == 0);
}

pid_t main_pid(struct guest *guest) {
        return (pid_t) strtol(unit_property(guest, "baton", "MainPID"), NULL, 10);
}

static bool is_replaced(struct guest *guest, pid_t before) {
        pid_t now = main_pid(guest);

        return now > 0 && now != before && unit_is(guest, "baton", "active", "running");
}

pid_t wait_replaced(struct guest *guest, pid_t before) {
        WAIT_UNTIL(&guest->world, is_replaced(guest, before));
        return main_pid(guest);
}

void drop_in(struct guest *guest, const char *unit, const char *lines) {
        shell(guest,
              "mkdir -p /run/systemd/system/%s.service.d && "
              "printf '[Service]\\n%s\\n' >/run/systemd/system/%s.service.d/50-test.conf && systemctl daemon-reload",
              unit, lines, unit);
}

void drop_in_end(struct guest *guest, const char *unit) {
        shell(guest, "rm /run/systemd/system/%s.service.d/50-test.conf && systemctl daemon-reload", unit);
}

static bool runs(const char *pid, const char *program) {
        char path[64], exe[512];
        ssize_t length;

        (void) snprintf(path, sizeof(path), "/proc/%.20s/exe", pid);
        length = readlink(path, exe, sizeof(exe) - 1);
        exe[length > 0 ? length : 0] = '\0';
        return strncmp(strrchr(exe, '/') ? strrchr(exe, '/') + 1 : exe, program, strlen(program)) == 0;
}

size_t process_count(struct guest *guest, const char *program) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        size_t count = 0;

        if (!proc)
                world_fail(&guest->world, "no /proc");
        while ((entry = readdir(proc)))
                if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && runs(entry->d_name, program))
                        count++;
        (void) closedir(proc);
        return count;
}
