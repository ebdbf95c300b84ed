/* SPDX-License-Identifier: Apache-2.0 */
/* How the tests of the doctor read its report. */
#ifndef TOLLGATE_TESTS_INTEGRATION_DOCTOR_STEPS_H
#define TOLLGATE_TESTS_INTEGRATION_DOCTOR_STEPS_H

#include "tests/integration/harness.h"

void expect_text(const char *text, const char *part);
/* The doctor's line that starts with these words. */
const char *line_of(struct site *site, const char *output, const char *start);

#endif
