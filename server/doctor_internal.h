/*
 * What the doctor's checks share: their findings, and the way to report more than one. Included by
 * the doctor's own files alone.
 */
#ifndef TOLLGATE_SERVER_DOCTOR_INTERNAL_H
#define TOLLGATE_SERVER_DOCTOR_INTERNAL_H

#include <stdbool.h>
#include <time.h>

#include "server/doctor.h"

/* A check that runs: its result, and the function to which it reports more on the way. */
struct doctor_run {
    struct doctor_finding found; /* first: what a check is given points to it */
    enum doctor_asker asker;
    bool warned; /* of something: then it is not reported as in order */
    void (*report)(void *context, const struct doctor_finding *finding);
    void *context;
};

void doctor_find(struct doctor_finding *out, enum doctor_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Reports another finding before the check's own, `out`. */
void doctor_report(const struct doctor_finding *out, const struct doctor_finding *also);
/* One failure of several, each a line of its own: the last is the check's own. */
void doctor_fail(struct doctor_finding *out, const char *text);
/* One warning of several, each a line of its own; `context` is the check's finding. */
void doctor_warn(void *context, const char *text);
/* Who asks for the check. */
enum doctor_asker doctor_asker(const struct doctor_finding *out);
/* "2026-11-28 12:00 UTC". */
void doctor_write_day(time_t when, char out[static 32]);

/*
 * Whether the state directory holds files that no node has made, and that the configuration does not name, before a
 * node has begun its life there. `names` receives the first of them, for a message.
 */
bool doctor_find_strangers(const struct config *config, char *names, size_t size);

#define X(name, askers, exit_code, about)                                                          \
    void doctor_check_##name(const struct config *config, struct doctor_finding *out);
DOCTOR_CHECKS(X)
#undef X

#endif
