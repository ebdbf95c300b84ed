/*
 * What the micro-benchmarks share: a stretch of code whose instructions callgrind counts, and nothing
 * else of the process. Each stretch becomes one dump, named "NAME COUNT", which run.sh divides.
 */
#ifndef TOLLGATE_BENCH_MICRO_H
#define TOLLGATE_BENCH_MICRO_H

/* Begins a stretch of the calling thread, and ends it; callgrind counts each thread by itself. */
void micro_toggle(void);
/* Forgets what was counted before. */
void micro_begin(void);
/* Writes what was counted since micro_begin: `count` times what `name` says. Both outside of a stretch. */
void micro_end(const char *name, unsigned count);

/* Tokens, heads and the journal, one after the other; `directory` is empty and the journal's. */
void micro_parts(const char *directory);

struct micro_exchanges {
    const char *configuration; /* a file; its account shop/alice can pay */
    const char *small,
        *large; /* request targets with their tokens: files of 4 KiB and of 64 KiB or more */
};
/* Runs a node in the calling thread, and in its worker an admission and the exchanges. 0, or a negative
 * errno where the node did not start, which it has printed. */
int micro_exchanges(const struct micro_exchanges *exchanges);

#endif
