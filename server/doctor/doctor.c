/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run of all checks (doctor.h): which are done for whom, and in what order. The checks stand in
 * doctor_host.c, doctor_settings.c, doctor_config.c and doctor_redis.c.
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
    } checks[] = {
#define X(name, askers, exit_code, about) {#name, askers, exit_code, doctor_check_##name},
        DOCTOR_CHECKS(X)
#undef X
    };
    bool ring = true;
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        bool of_host =
            (checks[i].askers & DOCTOR_CONFIG) == 0 && checks[i].run != doctor_check_redis;
        if ((checks[i].askers & asker) == 0 || (config == NULL && !of_host) ||
            (checks[i].run == doctor_check_memlock && !ring)) /* it would repeat that failure */
            continue;
        struct doctor_run run = {
            .found = {.name = checks[i].name, .exit_code = checks[i].exit_code},
            .asker = asker,
            .report = report,
            .context = context,
        };
        checks[i].run(config, &run.found);
        if (checks[i].run == doctor_check_io_uring)
            ring = run.found.verdict == DOCTOR_OK;
        if (!run.warned || run.found.verdict != DOCTOR_OK)
            report(context, &run.found);
    }
}
