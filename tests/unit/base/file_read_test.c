/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is read whole: its bound is exact, and what is longer is refused, not cut. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/file_read.h"

Test(file_read, reads_files_whole_and_not_past_the_bound)
{
    char *text = NULL, file[] = "/tmp/tollgate-file-read-XXXXXX";
    size_t length = 0;
    int fd = mkstemp(file);
    cr_assert_geq(fd, 0);
    FILE *out = fdopen(fd, "w");
    cr_assert_not_null(out);
    for (int i = 0; i < 5000; i++)
        fputs("ab", out);
    cr_assert_eq(fclose(out), 0);
    cr_expect_eq(file_read(file, 10000, &text, &length), 0);
    cr_expect_eq(length, 10000);
    cr_expect(text != NULL && strlen(text) == 10000);
    free(text);
    cr_expect_eq(file_read(file, 9999, &text, &length), -EFBIG);
    cr_expect_null(text);
    cr_assert_eq(unlink(file), 0);
    cr_expect_eq(file_read(file, 9999, &text, &length), -ENOENT);
}
