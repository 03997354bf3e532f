/* SPDX-License-Identifier: Apache-2.0 */
/* A small file of a test's own, made or made anew. */
#pragma once

#include <criterion/criterion.h>
#include <stdio.h>

static inline void text_put(const char *directory, const char *name, const char *text) {
        char path[700];
        FILE *file;

        (void) snprintf(path, sizeof(path), "%s/%s", directory, name);
        file = fopen(path, "we");
        cr_assert_not_null(file, "%s: %m", path);
        (void) fputs(text, file);
        cr_assert_eq(fclose(file), 0);
}
