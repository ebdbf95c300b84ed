/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the doctor's examinations share: their findings, and how one reports more than one. Only the
 * doctor's own files include it.
 */
#ifndef TOLLGATE_SERVER_DOCTOR_DOCTOR_INTERNAL_H
#define TOLLGATE_SERVER_DOCTOR_DOCTOR_INTERNAL_H

#include <stdbool.h>
#include <time.h>

#include "server/doctor/doctor.h"

/* An examination under way: its result, and the function to which it reports further findings. */
struct doctor_run {
    struct doctor_finding found; /* first: an examination's pointer to it is cast to the run */
    enum doctor_asker asker;
    bool warned; /* a warning was reported, so DOCTOR_OK will not be */
    void (*report)(void *context, const struct doctor_finding *finding);
    void *context;
};

/* Sets a finding's verdict and text. Below, `out` is the finding that an examination was given. */
void doctor_find(struct doctor_finding *out, enum doctor_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Reports another finding before the examination's own. */
void doctor_report(const struct doctor_finding *out, const struct doctor_finding *also);
/* Adds a failure. Of several, each is a line of its own; the last one stays in `out`. */
void doctor_fail(struct doctor_finding *out, const char *text);
/* Reports a warning as a line of its own; `context` is `out`. */
void doctor_warn(void *context, const char *text);
/* Who asked for the examination. */
enum doctor_asker doctor_asker(const struct doctor_finding *out);
/* Writes a time as "2026-11-28 12:00 UTC". */
void doctor_write_day(time_t when, char out[static 32]);

/*
 * Whether the state directory, where no node has lived yet, holds files that no node makes and the
 * configuration does not name. `names` receives the first of them, for a message.
 */
bool doctor_find_strangers(const struct config *config, char *names, size_t size);

#define X(name, askers, exit_code, about)                                                          \
    void doctor_examine_##name(const struct config *config, struct doctor_finding *out);
DOCTOR_EXAMINATIONS(X)
#undef X

#endif
