/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that a process could write and others see: the segment, and SQLite's -shm files. Between the exit of
 * a call and the entry of the next one a thread can change nothing else that outlives it. Where all of it
 * stands as it stood, byte for byte, a death at either place leaves the same world behind.
 *
 * Other processes write there, too: then a difference is seen that is not ours, and a point more is tried. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "prove/crash/crash.h"

#define PROCESSES_MAX 64
#define REGIONS_MAX 32
#define BYTES_MAX (4u << 20)

struct shared_memory {
        pid_t pid;
        bool is_known, is_too_much; /* more regions than fit: it is always different */
        size_t region_count;
        struct iovec regions[REGIONS_MAX];
};

struct memory {
        struct shared_memory processes[PROCESSES_MAX];
        size_t process_count;
        uint8_t bytes[BYTES_MAX];
};

struct memory *crash_memory_new(void) {
        struct memory *memory = calloc(1, sizeof(*memory));

        assert(memory);
        return memory;
}

static struct shared_memory *find(struct memory *memory, pid_t pid) {
        for (size_t i = 0; i < memory->process_count; i++)
                if (memory->processes[i].pid == pid)
                        return &memory->processes[i];
        assert(memory->process_count < PROCESSES_MAX);
        memory->processes[memory->process_count] = (struct shared_memory){ .pid = pid };
        return &memory->processes[memory->process_count++];
}

void crash_memory_forget(struct memory *memory, pid_t pid) {
        find(memory, pid)->is_known = false;
}

/* "7f…-7f… rw-s …" */
static void learn(struct shared_memory *shared) {
        char path[64], line[512], mode[5];
        unsigned long from, to;
        FILE *maps;

        shared->is_known = true;
        shared->is_too_much = false;
        shared->region_count = 0;
        (void) snprintf(path, sizeof(path), "/proc/%d/maps", (int) shared->pid);
        maps = fopen(path, "re");
        while (maps && fgets(line, sizeof(line), maps))
                /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
                if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 || strcmp(mode, "rw-s") != 0)
                        continue;
                else if (shared->region_count == REGIONS_MAX)
                        shared->is_too_much = true;
                else
                        shared->regions[shared->region_count++] = (struct iovec){ .iov_base = (void *) from,
                                                                                  .iov_len = to - from };
        if (maps)
                (void) fclose(maps);
}

static ssize_t fetch(struct memory *memory, const struct shared_memory *shared) {
        const struct iovec here = { .iov_base = memory->bytes, .iov_len = sizeof(memory->bytes) };

        if (shared->region_count == 0)
                return 0;
        return process_vm_readv(shared->pid, &here, 1, shared->regions, shared->region_count, 0);
}

/* 0 is never what two places have in common: whoever cannot be read is always different. */
static uint64_t digest_or_none(struct memory *memory, const struct shared_memory *shared) {
        size_t wanted = 0;
        ssize_t bytes = fetch(memory, shared);

        if (shared->is_too_much)
                return 0;
        for (size_t i = 0; i < shared->region_count; i++)
                wanted += shared->regions[i].iov_len;
        return bytes >= 0 && (size_t) bytes == wanted ? XXH3_64bits(memory->bytes, wanted) | 1 : 0;
}

uint64_t crash_memory_digest(struct memory *memory, const struct trace_call *call) {
        struct shared_memory *shared = find(memory, call->pid);
        uint64_t digest;

        if (!shared->is_known ||
            (!call->is_entry && call->number == SYS_mmap && (call->arguments[3] & MAP_SHARED) != 0))
                learn(shared);
        digest = digest_or_none(memory, shared);
        if (digest != 0)
                return digest;
        learn(shared);
        return digest_or_none(memory, shared);
}
