/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many seeds, on several cores, until one breaks a promise; and one seed again, with its story, or
 * with as few acts as still break the same promise. Each process of a campaign runs its seeds one
 * after another; a seed that crashes, or does not end, counts as one that broke a promise.
 */
#ifndef TOLLGATE_SIMULATION_CAMPAIGN_H
#define TOLLGATE_SIMULATION_CAMPAIGN_H

#include "tests/simulation/sim.h"

struct campaign {
    uint64_t from, seeds; /* seeds 0: as many as the time allows */
    uint64_t seconds;     /* 0: no limit */
    unsigned jobs;        /* processes */
    int wanted; /* the code of a seed that ends it, or that of a crash; 0: any that failed */
};

/* What a campaign, or one seed, came to. */
struct campaign_result {
    bool has_failed;
    uint64_t seed;  /* that failed; the lowest of those that were found */
    int code;       /* what it came to: see CAMPAIGN_CRASHED */
    char why[400];  /* empty where it crashed */
    uint64_t seeds; /* that ran */
    double seconds; /* that it took */
    struct sim_tally tally;
};
#define CAMPAIGN_HOLDS   0   /* a code: every promise held; 1 and more: a promise, plus 1 */
#define CAMPAIGN_CRASHED 200 /* the process ended by a signal */
#define CAMPAIGN_ENDLESS 201 /* the run did not end */

void campaign_run(const struct campaign *campaign, struct campaign_result *out);
/* Runs one seed in this process. The story goes to `story`. Returns its code. */
int campaign_replay(uint64_t seed, FILE *story);
/* Runs the seeds in this process, and records the first calls of each in the file (store_recording.h). Returns
 * the code of the last one; CAMPAIGN_CRASHED where the file cannot be written. */
int campaign_record(const struct campaign *campaign, const char *path);
/*
 * Leaves acts out as long as the seed comes to the same, and tells the story of what is left.
 * Returns the code of the seed; CAMPAIGN_HOLDS where it breaks nothing.
 */
int campaign_shrink(uint64_t seed, FILE *story);
/* What a code means, in words. */
const char *campaign_code_text(int code);

#endif
