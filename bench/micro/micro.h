/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the micro-benchmarks share: a stretch of code whose instructions callgrind counts,
 * and nothing else of the process. Each measurement becomes one dump, named "NAME COUNT",
 * which run.sh divides.
 */
#ifndef TOLLGATE_BENCH_MICRO_H
#define TOLLGATE_BENCH_MICRO_H

/* Begins a stretch in the calling thread, or ends it; callgrind counts each thread by itself. */
void micro_toggle(void);
/* Sets the count to zero. Call it, like micro_end, outside of a stretch. */
void micro_begin(void);
/* Writes the count since micro_begin: `count` times what `name` says. */
void micro_end(const char *name, unsigned count);

/* Measures tokens, heads and the journal, one after the other; `directory` is empty,
 * and the journal's. */
void micro_parts(const char *directory);

struct micro_exchanges {
    const char *configuration; /* a file; its account shop/alice has a balance */
    const char *small,
        *large; /* request targets with their tokens: files of 4 KiB and of 64 KiB or more */
};
/* Runs a node in the calling thread and measures, in its worker, an admission and the exchanges. 0,
 * or a negative errno where the node did not start; the cause is then printed. */
int micro_exchanges(const struct micro_exchanges *exchanges);

#endif
