/* SPDX-License-Identifier: Apache-2.0 */
/* Failures: class and sentence (M6), bounded and whole to the last character. */

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/failure.h"
#include "base/text.h"

Test(failure, carries_class_and_sentence) {
        struct failure failure = { 0 };

        cr_assert_eq(failure_set(&failure, -EBADMSG, FAILURE_STOP, "journal %s is damaged at %d", "x", 7),
                     -EBADMSG);
        cr_assert_eq(failure.kind, FAILURE_STOP);
        cr_assert_str_eq(failure.text, "journal x is damaged at 7");
        failure_prefix(&failure, "session %s", "orders");
        cr_assert_str_eq(failure.text, "session orders: journal x is damaged at 7");
        cr_assert_eq(failure.kind, FAILURE_STOP);

        /* The old sentence may be part of the new one. */
        (void) failure_set(&failure, -EIO, FAILURE_SYNC, "again: %s", failure.text);
        cr_assert_str_eq(failure.text, "again: session orders: journal x is damaged at 7");
}

/* B1: the words of others in a sentence, which goes to terminals, into JSON and over D-Bus. */
Test(failure, is_fit_to_be_shown_whatever_it_quotes) {
        struct failure failure = { 0 };

        (void) failure_set(&failure, -EINVAL, FAILURE_STOP, "line \"%s\"", "a\xff\x1b[2J\nb\xc2\x9b");
        cr_assert_str_eq(failure.text, "line \"a??[2J b??\"");
        failure_prefix(&failure, "%.1s", "\xe2\x82\xac");
        cr_assert_str_eq(failure.text, "?: line \"a??[2J b??\"", "a precision may cut a character");
}

Test(failure, is_optional) {
        cr_assert_eq(failure_set(NULL, -EIO, FAILURE_SYNC, "nobody reads this"), -EIO);
        failure_prefix(NULL, "nor this");
}

/* M6: a reason is shown on a screen and stored; half a character would spoil both. */
Test(failure, is_cut_at_a_whole_character) {
        static const char *const letters[] = { "x", "ä", "€", "😀" };

        for (size_t i = 0; i < ELEMENTSOF(letters); i++)
                for (size_t shift = 0; shift < 5; shift++) {
                        char text[FAILURE_TEXT_BYTES * 2] = "";
                        struct failure failure = { 0 };
                        size_t width = strlen(letters[i]), length;

                        memset(text, '.', shift);
                        while (strlen(text) + width < sizeof text)
                                strcat(text, letters[i]);
                        (void) failure_set(&failure, -EIO, FAILURE_STOP, "%s", text);
                        length = strlen(failure.text);
                        cr_assert_lt(length, FAILURE_TEXT_BYTES);
                        cr_assert_gt(length + width, FAILURE_TEXT_BYTES - 1, "no more is lost than must be");
                        cr_assert(text_is_utf8(failure.text, length));

                        failure_prefix(&failure, "p%s", letters[i]);
                        length = strlen(failure.text);
                        cr_assert_gt(length + width, FAILURE_TEXT_BYTES - 1);
                        cr_assert(text_is_utf8(failure.text, length));
                }
}

Test(failure, each_class_has_a_word_of_its_own) {
        for (int i = 0; i < FAILURE_KIND_COUNT; i++) {
                cr_assert_str_neq(failure_kind_name((enum failure_kind) i), "unknown", "class %d", i);
                for (int k = 0; k < i; k++)
                        cr_assert_str_neq(failure_kind_name((enum failure_kind) i),
                                          failure_kind_name((enum failure_kind) k));
        }
        /* P1: it may come out of a foreign record. */
        cr_assert_str_eq(failure_kind_name(FAILURE_KIND_COUNT), "unknown");
        cr_assert_str_eq(failure_kind_name((enum failure_kind) - 1), "unknown");
}

Test(failure, class_of_an_errno_M6_M8) {
        cr_assert_eq(failure_kind_of_errno(-ENOSPC), FAILURE_FULL);
        cr_assert_eq(failure_kind_of_errno(-EDQUOT), FAILURE_FULL);
        cr_assert_eq(failure_kind_of_errno(ENOSPC), FAILURE_FULL);
        cr_assert_eq(failure_kind_of_errno(-EIO), FAILURE_STOP);
        cr_assert_eq(failure_kind_of_errno(-EINVAL), FAILURE_STOP);
        cr_assert_eq(failure_kind_of_errno(-ENOENT), FAILURE_UNAVAILABLE);
        cr_assert_eq(failure_kind_of_errno(-EACCES), FAILURE_UNAVAILABLE);
        cr_assert_eq(failure_kind_of_errno(-EMFILE), FAILURE_UNAVAILABLE);
        cr_assert_eq(failure_kind_of_errno(-ENOLCK), FAILURE_UNAVAILABLE);
        cr_assert_eq(failure_kind_of_errno(0), FAILURE_NONE);
}
