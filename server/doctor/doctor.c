/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run of all examinations (doctor.h): which are done for whom, and in what order. The
 * examinations stand in doctor_host.c, doctor_settings.c, doctor_config.c and doctor_redis.c.
 */
#include <stdbool.h>
#include <stddef.h>

#include "server/doctor/doctor_internal.h"

void doctor_run(const struct config *config, enum doctor_asker asker,
                void (*report)(void *context, const struct doctor_finding *finding), void *context)
{
    static const struct {
        const char *name;
        unsigned askers;
        int exit_code;
        void (*run)(const struct config *config, struct doctor_finding *out);
    } examinations[] = {
#define X(name, askers, exit_code, about) {#name, askers, exit_code, doctor_examine_##name},
        DOCTOR_EXAMINATIONS(X)
#undef X
    };
    bool ring = true;
    for (size_t i = 0; i < sizeof(examinations) / sizeof(examinations[0]); i++) {
        bool of_host = (examinations[i].askers & DOCTOR_CONFIG) == 0 &&
                       examinations[i].run != doctor_examine_redis;
        if ((examinations[i].askers & asker) == 0 || (config == NULL && !of_host) ||
            (examinations[i].run == doctor_examine_memlock &&
             !ring)) /* it would repeat that failure */
            continue;
        struct doctor_run run = {
            .found = {.name = examinations[i].name, .exit_code = examinations[i].exit_code},
            .asker = asker,
            .report = report,
            .context = context,
        };
        examinations[i].run(config, &run.found);
        if (examinations[i].run == doctor_examine_io_uring)
            ring = run.found.verdict == DOCTOR_OK;
        if (!run.warned || run.found.verdict != DOCTOR_OK)
            report(context, &run.found);
    }
}
