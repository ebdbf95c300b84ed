/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a row of a table of metrics says, and the row as data. Each library has its own table beside
 * what it counts: METRICS (server/delivery/metrics.h), LEDGER_METRICS, MEDIA_METRICS and others;
 * server/admin/admin_metrics.c has all of them. Whoever tells a metric's value, or describes it,
 * goes through these rows, so a new one is one row and the place where it is counted.
 *
 * X(name, kind, unit, labels, field, help)
 *
 * name    of the metric; rows of one name stand together, and differ in their labels
 * kind    COUNTER: only grows while the process runs; GAUGE: a level, which also falls
 * unit    what is counted, in the plural
 * labels  as a metrics text has them, such as class="2xx"; "" where the name has one row
 * field   the uint64_t of the struct that holds it, and the member's name in the JSON
 * help    one sentence
 */
#ifndef TOLLGATE_SERVER_BASE_METRIC_H
#define TOLLGATE_SERVER_BASE_METRIC_H

#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
    const char *name;
    enum metric_kind kind;
    const char *unit, *labels, *field, *help;
    size_t offset; /* of the field in its struct */
};

/* As X: declares the fields of the struct that holds the values. */
#define METRIC_FIELD(name, kind, unit, labels, field, help) uint64_t field;

/* A struct metric; `type` is the struct that holds the value. */
#define METRIC_ROW(type, name, kind, unit, labels, field, help)                                    \
    {                                                                                              \
#name, METRIC_##kind, unit, labels, #field, help, offsetof(type, field)                    \
    }

#endif
