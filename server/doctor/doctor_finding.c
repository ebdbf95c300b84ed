/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The findings of the doctor's examinations: sets one, reports more than one, writes a day. Every
 * examination calls it; it knows none of them.
 */
#include <stdarg.h>
#include <stdio.h>

#include "server/doctor/doctor_internal.h"

void doctor_find(struct doctor_finding *out, enum doctor_verdict verdict, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out->text, sizeof(out->text), format, arguments);
    va_end(arguments);
    out->verdict = verdict;
}

void doctor_report(const struct doctor_finding *out, const struct doctor_finding *also)
{
    const struct doctor_run *run = (const struct doctor_run *)out;
    run->report(run->context, also);
}

void doctor_fail(struct doctor_finding *out, const char *text)
{
    if (out->verdict == DOCTOR_FAILURE)
        doctor_report(out, out);
    doctor_find(out, DOCTOR_FAILURE, "%s", text);
}

void doctor_warn(void *context, const char *text)
{
    const struct doctor_finding *out = context;
    struct doctor_finding also = *out;
    doctor_find(&also, DOCTOR_WARNING, "%s", text);
    ((struct doctor_run *)context)->warned = true;
    doctor_report(out, &also);
}

enum doctor_asker doctor_asker(const struct doctor_finding *out)
{
    return ((const struct doctor_run *)out)->asker;
}

void doctor_write_day(time_t when, char out[static 32])
{
    struct tm parts;
    if (gmtime_r(&when, &parts) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &parts) == 0)
        snprintf(out, 32, "%lld", (long long)when);
}
