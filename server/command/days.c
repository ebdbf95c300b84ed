/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads spans of days; see days.h.
 */
#include "server/command/days.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "server/command/cli.h"

/* Only digits and dashes may pass: callers put the text into a request target as it is. */
static bool looks_like_day(const char *text)
{
    if (strlen(text) != strlen("2026-11-23"))
        return false;
    for (size_t i = 0; text[i] != '\0'; i++)
        if (i == 4 || i == 7 ? text[i] != '-' : isdigit((unsigned char)text[i]) == 0)
            return false;
    return true;
}

/* Days since 1970; -1 for a day that the calendar does not have, or one before 1970. */
static int64_t day_number(const char *text)
{
    struct tm date = {0};
    char again[16];
    const char *end = strptime(text, "%Y-%m-%d", &date);
    if (end == NULL || *end != '\0')
        return -1;
    time_t seconds = timegm(&date); /* turns the 30th of February into a day of March */
    if (seconds < 0 || strftime(again, sizeof(again), "%Y-%m-%d", &date) == 0 ||
        strcmp(again, text) != 0)
        return -1;
    return seconds / DAYS_S;
}

int days_read_one(const char *command, const char *option, const char *text, int64_t *out)
{
    if (!looks_like_day(text))
        return cli_fail(EX_USAGE, command, "%s %s is not a day; write it as 2026-11-23", option,
                        text);
    *out = day_number(text);
    if (*out < 0)
        return cli_fail(EX_USAGE, command, "%s %s is not a day of the calendar; give one that is",
                        option, text);
    return EX_OK;
}

int days_read(const char *command, const char *from, const char *to, unsigned count,
              struct days *out)
{
    int code = EX_OK;
    out->last = time(NULL) / DAYS_S;
    if (from != NULL)
        code = days_read_one(command, "--from", from, &out->first);
    if (code == EX_OK && to != NULL)
        code = days_read_one(command, "--to", to, &out->last);
    if (code != EX_OK)
        return code;
    if (from == NULL)
        out->first = out->last < (int64_t)count ? 0 : out->last - (int64_t)count + 1;
    if (out->first > out->last)
        return cli_fail(EX_USAGE, command, "--from %s is after %s%s; give the earlier day first",
                        from, to != NULL ? "--to " : "", to != NULL ? to : "today");
    return EX_OK;
}
