/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a duration from the command line. Called by the commands that have such an option.
 */
#include <stdlib.h>
#include <string.h>

#include "server/command/cli.h"

int64_t cli_duration(const struct argp_state *state, const char *option, const char *text)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t digits = strspn(text, "0123456789");
    if (digits > 0 && digits < 11 && text[digits] != '\0' && text[digits + 1] == '\0') {
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            int64_t count = strtoll(text, NULL, 10);
            if (units[i].letter == text[digits] && count > 0 &&
                count <= INT64_C(3153600000) / units[i].seconds)
                return count * units[i].seconds;
        }
    }
    cli_usage(state,
              "%s %s: it is not a duration; give a number and a unit, such as 30s, 15m, 1h or 7d",
              option, text);
    return 0;
}
