/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/doctor_steps.h"

#include <criterion/criterion.h>
#include <string.h>

void expect_text(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "no \"%s\" in: %s", part, text);
}

const char *line_of(struct site *site, const char *output, const char *start)
{
    const char *line = strstr(output, start);
    cr_assert(line != NULL && (line == output || line[-1] == '\n'), "no line \"%s\" in: %s", start,
              output);
    return site_format(site, "%.*s", (int)strcspn(line, "\n"), line);
}
