/* SPDX-License-Identifier: Apache-2.0 */
/* Walks through the directory and compares each file with the image of which nothing is lost.
 * Must not touch: the files (they are read). */
#include "prove/power/account.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "prove/power/cut.h"
#include "prove/power/recorder.h"

static struct cut_image *comparing; /* nftw() hands nothing over */
static size_t compare_root_bytes, compare_found;
static int compare_bad;

static int compare_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
        const char *below = path + compare_root_bytes + (walk->level > 0);
        const struct cut_entry *entry;
        _cleanup_free_ uint8_t *content = NULL;
        _cleanup_fd_ int fd = -1;
        size_t bytes;

        if (walk->level == 0 || recorder_ignores(below))
                return 0;
        entry = cut_image_find(comparing, below);
        compare_found++;
        if (!entry || entry->is_directory != (kind == FTW_D)) {
                fprintf(stderr, "power: %s is there, and not on the tape\n", path);
                compare_bad++;
                return 0;
        }
        if (entry->is_directory)
                return 0;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        content = malloc((size_t) status->st_size + 1);
        if (fd < 0 || !content || fd_pread_all(fd, content, (size_t) status->st_size, 0, &bytes) < 0 ||
            bytes != entry->size || memcmp(content, entry->content, bytes) != 0) {
                fprintf(stderr, "power: %s holds %zu bytes, and %zu, or others, by the tape\n", path,
                        (size_t) status->st_size, (size_t) entry->size);
                compare_bad++;
        }
        return 0;
}

bool account_holds(const struct tape *tape, const char *root) {
        struct disk disk;
        struct cut cut;
        struct cut_image image;

        disk_begin(&disk, tape, BLIND_NOT);
        disk_advance(&disk, tape->moment);
        cut_choose(&disk, CUT_ALL, 0, &cut);
        cut_build(&disk, &cut, &image);
        comparing = &image;
        compare_root_bytes = strlen(root);
        compare_found = 0;
        compare_bad = 0;
        if (nftw(root, compare_entry, 16, FTW_PHYS) != 0)
                compare_bad++;
        if (compare_found != image.count) {
                fprintf(stderr, "power: %zu files by the tape, %zu in %s\n", image.count, compare_found,
                        root);
                compare_bad++;
        }
        cut_image_done(&image);
        cut_done(&cut);
        disk_done(&disk);
        return compare_bad == 0;
}
