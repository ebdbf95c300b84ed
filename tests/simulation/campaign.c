/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs seeds in processes, and gathers what they came to. See campaign.h.
 */
#include "tests/simulation/campaign.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "tests/simulation/scratch.h"
#include "tests/simulation/store_recording.h"

#define JOBS_MAX           64
#define SEED_SECONDS       120 /* a run that takes longer does not end */
#define TWICE_EVERY        50 /* of so many seeds, one runs twice, and must end in the same state */
#define PIECES_AT_FIRST    2
#define RECORDED_CALLS_MAX 20000
#define EXIT_CODES         100 /* a process that tries a seed exits with this, plus the code */

/* What the processes of a campaign share. */
struct shared {
    _Atomic uint64_t next, ran;
    _Atomic bool ends;
    struct job {
        struct sim_tally tally;
        uint64_t seed; /* that runs now */
        char why[400]; /* what a seed that failed said */
    } jobs[JOBS_MAX];
};

const char *campaign_code_text(int code)
{
    if (code == CAMPAIGN_CRASHED)
        return "the program crashed";
    if (code == CAMPAIGN_ENDLESS)
        return "the run does not end";
    return code == CAMPAIGN_HOLDS ? "every promise held"
                                  : sim_promise_name((enum sim_promise)(code - 1));
}

/* ---- one seed ---- */

/* Runs a seed; `left_out` has a flag for each act, or is NULL. Returns its code. */
static int run_seed(uint64_t seed, const bool *left_out, struct sim_tally *tally, FILE *story,
                    char why[400], uint64_t *digest)
{
    struct sim *sim;
    alarm(SEED_SECONDS);
    sim_create(&sim, seed, scratch_directory(), tally, story);
    for (size_t i = 0; left_out != NULL && i < sim->plan.count; i++)
        sim->plan.acts[i].is_left_out = left_out[i];
    sim_run(sim);
    int code = sim->is_broken ? (int)sim->broken + 1 : CAMPAIGN_HOLDS;
    memcpy(why, sim->why, sizeof(sim->why));
    *digest = sim_digest(sim);
    sim_destroy(&sim);
    alarm(0);
    return code;
}

int campaign_replay(uint64_t seed, FILE *story)
{
    struct sim_tally tally = {0};
    char why[400];
    uint64_t digest;
    log_set_level(LOG_LEVEL_ERROR);
    int code = run_seed(seed, NULL, &tally, story, why, &digest);
    fprintf(story, "seed %llu ends in the state %016llx: %s\n", (unsigned long long)seed,
            (unsigned long long)digest, campaign_code_text(code));
    return code;
}

int campaign_record(const struct campaign *campaign, const char *path)
{
    struct sim_tally tally = {0};
    char why[400];
    uint64_t digest;
    int code = CAMPAIGN_HOLDS;
    log_set_level(LOG_LEVEL_ERROR);
    if (!recording_begin(path, RECORDED_CALLS_MAX)) {
        fprintf(stderr, "%s cannot be written\n", path);
        return CAMPAIGN_CRASHED;
    }
    for (uint64_t i = 0; i < campaign->seeds && code == CAMPAIGN_HOLDS; i++)
        code = run_seed(campaign->from + i, NULL, &tally, NULL, why, &digest);
    return recording_finish() ? code : CAMPAIGN_CRASHED;
}

/* ---- many ---- */

/* Returns CAMPAIGN_HOLDS, or the code of the seed that failed. */
static int run_job(const struct campaign *campaign, struct shared *shared, struct job *job)
{
    while (!atomic_load(&shared->ends)) {
        uint64_t index = atomic_fetch_add(&shared->next, 1), digest = 0, again = 0;
        if (campaign->seeds != 0 && index >= campaign->seeds)
            break;
        uint64_t seed = job->seed = campaign->from + index;
        int code = run_seed(seed, NULL, &job->tally, NULL, job->why, &digest);
        if (code == CAMPAIGN_HOLDS && index % TWICE_EVERY == 0) {
            job->tally.looked[SIM_PROMISE_replays]++;
            code = run_seed(seed, NULL, &job->tally, NULL, job->why, &again);
            if (code == CAMPAIGN_HOLDS && digest != again) {
                code = SIM_PROMISE_replays + 1;
                snprintf(job->why, sizeof(job->why), "it ended in another state the second time");
            }
        }
        atomic_fetch_add(&shared->ran, 1);
        if (code != CAMPAIGN_HOLDS && (campaign->wanted == 0 || code == campaign->wanted))
            return code;
    }
    return CAMPAIGN_HOLDS;
}

static void add_tally(struct sim_tally *to, const struct sim_tally *from)
{
    uint64_t *sums = (uint64_t *)(void *)to;
    const uint64_t *more = (const uint64_t *)(const void *)from;
    for (size_t i = 0; i < sizeof(*to) / sizeof(*sums); i++)
        sums[i] += more[i];
}

/* A process that runs a seed, or many, exits with EXIT_CODES plus the code; a sanitizer ends it with
 * a status of its own. */
static int code_of(int status)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status) >= EXIT_CODES ? WEXITSTATUS(status) - EXIT_CODES
                                                 : CAMPAIGN_CRASHED;
    return WTERMSIG(status) == SIGALRM ? CAMPAIGN_ENDLESS : CAMPAIGN_CRASHED;
}

/* As fork; what the child says on standard error, such as the server's own log, is not wanted. */
static pid_t fork_quietly(unsigned number)
{
    pid_t child = scratch_fork(number);
    check(child > 0 || freopen("/dev/null", "w", stderr) != NULL);
    return child;
}

static pid_t start_job(const struct campaign *campaign, struct shared *shared, unsigned number)
{
    pid_t child = fork_quietly(number);
    if (child == 0)
        _exit(EXIT_CODES + run_job(campaign, shared, &shared->jobs[number]));
    return child;
}

/* Tells each second how far it is, on a terminal alone; ends the campaign when its time is over. */
static void watch_jobs(const struct campaign *campaign, struct shared *shared, pid_t jobs[],
                       uint64_t begun_ms, struct campaign_result *out)
{
    unsigned left = campaign->jobs;
    while (left > 0) {
        const struct timespec pause = {.tv_nsec = 20000000};
        int status;
        pid_t ended = waitpid(-1, &status, WNOHANG);
        uint64_t ran_ms = clock_monotonic_ms() - begun_ms;
        if (campaign->seconds != 0 && ran_ms >= campaign->seconds * 1000)
            atomic_store(&shared->ends, true);
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\r%llu seeds, %llu s ", (unsigned long long)atomic_load(&shared->ran),
                    (unsigned long long)(ran_ms / 1000));
        if (ended <= 0) {
            nanosleep(&pause, NULL);
            continue;
        }
        left--;
        unsigned i = 0;
        while (jobs[i] != ended)
            i++;
        const struct job *job = &shared->jobs[i];
        int code = code_of(status);
        if (code == CAMPAIGN_HOLDS)
            continue;
        atomic_store(&shared->ends, true);
        if (out->has_failed && out->seed < job->seed)
            continue;
        out->has_failed = true;
        out->seed = job->seed;
        out->code = code;
        snprintf(out->why, sizeof(out->why), "%s", code < CAMPAIGN_CRASHED ? job->why : "");
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%40s\r", "");
}

void campaign_run(const struct campaign *campaign, struct campaign_result *out)
{
    pid_t jobs[JOBS_MAX] = {0};
    uint64_t begun_ms = clock_monotonic_ms();
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(shared != MAP_FAILED && campaign->jobs >= 1 && campaign->jobs <= JOBS_MAX);
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < campaign->jobs; i++)
        jobs[i] = start_job(campaign, shared, i);
    watch_jobs(campaign, shared, jobs, begun_ms, out);
    for (unsigned i = 0; i < campaign->jobs; i++)
        add_tally(&out->tally, &shared->jobs[i].tally);
    out->seeds = atomic_load(&shared->ran);
    out->seconds = (double)(clock_monotonic_ms() - begun_ms) / 1000;
    munmap(shared, sizeof(*shared));
}

/* ---- shrinking ---- */

/* What the seed comes to without these acts, in a process of its own. */
static int try_without(uint64_t seed, const bool *left_out)
{
    int status;
    pid_t child = fork_quietly(0);
    if (child == 0) {
        struct sim_tally tally = {0};
        char why[400];
        uint64_t digest;
        _exit(EXIT_CODES + run_seed(seed, left_out, &tally, NULL, why, &digest));
    }
    check(waitpid(child, &status, 0) == child);
    return code_of(status);
}

/* Leaves out each of so many pieces of what is left, where the seed still comes to `code`. Returns
 * whether one could be left out. */
static bool leave_out(uint64_t seed, int code, bool *left_out, size_t count, size_t size)
{
    bool *tried = malloc(count * sizeof(bool)), any = false;
    check(tried != NULL);
    for (size_t at = 0; at < count;) {
        size_t taken = 0, next = at;
        memcpy(tried, left_out, count * sizeof(bool));
        for (; next < count && taken < size; next++) {
            taken += !tried[next];
            tried[next] = true;
        }
        at = next;
        if (taken == 0 || try_without(seed, tried) != code)
            continue;
        memcpy(left_out, tried, count * sizeof(bool));
        any = true;
    }
    free(tried);
    return any;
}

int campaign_shrink(uint64_t seed, FILE *story)
{
    struct sim_tally tally = {0};
    struct sim *sim;
    char why[400];
    uint64_t digest;
    sim_create(&sim, seed, scratch_directory(), &tally, NULL);
    size_t count = sim->plan.count, kept = 0;
    sim_destroy(&sim);
    bool *left_out = calloc(count, sizeof(bool));
    check(left_out != NULL);
    int code = try_without(seed, left_out);
    if (code != CAMPAIGN_HOLDS) {
        for (size_t size = count / PIECES_AT_FIRST; size > 0; size /= 2)
            while (leave_out(seed, code, left_out, count, size) && size == 1)
                continue;
        for (size_t i = 0; i < count; i++)
            kept += !left_out[i];
        fprintf(story, "seed %llu breaks it with %zu of its %zu acts:\n", (unsigned long long)seed,
                kept, count);
        if (code < CAMPAIGN_CRASHED)
            (void)run_seed(seed, left_out, &tally, story, why, &digest);
    } else {
        fprintf(story, "seed %llu breaks no promise: there is nothing to shrink\n",
                (unsigned long long)seed);
    }
    free(left_out);
    return code;
}
