/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's command line. See sim.h for what is simulated, and tests/README.md for its use.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "tests/simulation/campaign.h"

#define AMOUNT_MAX UINT64_C(1000000000)

enum action { ACTION_CAMPAIGN, ACTION_REPLAY, ACTION_SHRINK, ACTION_RECORD, ACTION_LIST };

struct arguments {
    struct campaign campaign;
    enum action action;
    uint64_t seed;
    const char *file; /* of RECORD */
    bool are_few;     /* seeds: not each fault need strike in them */
};

enum option_key {
    OPTION_SEEDS = 1000,
    OPTION_FROM,
    OPTION_HOURS,
    OPTION_SECONDS,
    OPTION_REPLAY,
    OPTION_SHRINK,
    OPTION_RECORD,
    OPTION_FIND,
    OPTION_FEW,
    OPTION_JOBS,
    OPTION_LIST,
};

static const struct argp_option options[] = {
    {"seeds", OPTION_SEEDS, "N", 0, "Run N seeds (1000)", 0},
    {"from", OPTION_FROM, "SEED", 0, "Begin with this seed (1)", 0},
    {"hours", OPTION_HOURS, "N", 0, "Run seeds for N hours, beginning with one that the time gives",
     0},
    {"seconds", OPTION_SECONDS, "N", 0, "Run seeds for N seconds at most", 0},
    {"replay", OPTION_REPLAY, "SEED", 0, "Run one seed and tell its story", 0},
    {"shrink", OPTION_SHRINK, "SEED", 0,
     "Leave out all that a failing seed can do without, and tell its story", 0},
    {"record", OPTION_RECORD, "FILE", 0,
     "Run the seeds one after another, and write what Redis was asked and answered", 0},
    {"find", OPTION_FIND, "PROMISE", 0,
     "Succeed where a seed breaks this promise, and fail where none does, or one crashes", 0},
    {"few", OPTION_FEW, 0, 0, "Let a fault not strike, and a promise not be looked at", 0},
    {"jobs", OPTION_JOBS, "N", 0, "Use N processes, 1 to 64 (one for each processor)", 0},
    {"list", OPTION_LIST, 0, 0, "Name the faults and the promises", 0},
    {0},
};

static uint64_t number(const char *text, struct argp_state *state)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0)
        argp_error(state, "'%s' is not a number below 2^64", text);
    return value;
}

/* A number of seeds, hours, or seconds. */
static uint64_t amount(const char *text, struct argp_state *state)
{
    uint64_t value = number(text, state);
    if (value < 1 || value > AMOUNT_MAX)
        argp_error(state, "'%s' is not a number from 1 to %" PRIu64, text, AMOUNT_MAX);
    return value;
}

static int code_of_promise(const char *name, struct argp_state *state)
{
    for (unsigned i = 0; i < SIM_PROMISES_COUNT; i++)
        if (strcmp(sim_promise_name(i), name) == 0)
            return (int)i + 1;
    argp_error(state, "'%s' is not a promise: --list names them", name);
    return 0;
}

static void act(struct arguments *arguments, enum action action, const char *seed,
                struct argp_state *state)
{
    arguments->action = action;
    arguments->seed = seed != NULL ? number(seed, state) : 0;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct campaign *campaign = &arguments->campaign;
    switch (key) {
    case OPTION_SEEDS:
        campaign->seeds = amount(value, state);
        break;
    case OPTION_FROM:
        campaign->from = number(value, state);
        break;
    case OPTION_HOURS:
        campaign->seconds = amount(value, state) * 3600;
        campaign->seeds = 0;
        campaign->from = (uint64_t)time(NULL) * 1000000;
        break;
    case OPTION_SECONDS:
        campaign->seconds = amount(value, state);
        campaign->seeds = 0;
        break;
    case OPTION_REPLAY:
        act(arguments, ACTION_REPLAY, value, state);
        break;
    case OPTION_SHRINK:
        act(arguments, ACTION_SHRINK, value, state);
        break;
    case OPTION_RECORD:
        act(arguments, ACTION_RECORD, NULL, state);
        arguments->file = value;
        break;
    case OPTION_FIND:
        campaign->wanted = code_of_promise(value, state);
        break;
    case OPTION_FEW:
        arguments->are_few = true;
        break;
    case OPTION_JOBS:
        campaign->jobs = (unsigned)number(value, state);
        if (campaign->jobs < 1 || campaign->jobs > 64)
            argp_error(state, "--jobs takes 1 to 64");
        break;
    case OPTION_LIST:
        act(arguments, ACTION_LIST, NULL, state);
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is not expected", value);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static void list(void)
{
    printf("Faults:\n");
#define X(name, rate, help) printf("  %-22s %s\n", #name, help);
    SIM_FAULTS(X)
#undef X
    printf("Promises:\n");
#define X(name, help) printf("  %-22s %s\n", #name, help);
    SIM_PROMISES(X)
#undef X
}

/* Prints how often each fault struck and each promise was looked at. False where one has a zero. */
static bool print_tally(const struct campaign_result *result)
{
    const struct sim_tally *tally = &result->tally;
    bool complete = true;
    printf("struck:");
    for (unsigned i = 0; i < SIM_FAULTS_COUNT; i++) {
        printf(" %s %" PRIu64, sim_fault_name(i), tally->struck[i]);
        complete = complete && tally->struck[i] > 0;
    }
    printf("\nlooked at:");
    for (unsigned i = 0; i < SIM_PROMISES_COUNT; i++) {
        printf(" %s %" PRIu64, sim_promise_name(i), tally->looked[i]);
        complete = complete && tally->looked[i] > 0;
    }
    printf("\n%" PRIu64 " requests (%" PRIu64 " begun, %" PRIu64 " completed), %" PRIu64
           " operations of shops, %" PRIu64 " moments\n",
           tally->requests, tally->begun, tally->completed, tally->operations, tally->moments);
    printf("%" PRIu64 " seeds in %.1f s: %.0f a minute, %.0f simulated seconds a second\n",
           result->seeds, result->seconds, (double)result->seeds * 60 / result->seconds,
           (double)tally->simulated_us / 1e6 / result->seconds);
    return complete;
}

/* Looks for a seed that breaks one promise, as it does where a fault is planted. */
static int find(const struct campaign *campaign)
{
    struct campaign_result result;
    campaign_run(campaign, &result);
    bool is_found = result.has_failed && result.code == campaign->wanted;
    if (result.has_failed)
        printf("seed %" PRIu64 ", %s: %s\n", result.seed, campaign_code_text(result.code),
               result.why);
    else
        printf("no seed from %" PRIu64 " to %" PRIu64 " breaks the promise %s\n", campaign->from,
               campaign->from + result.seeds - 1, campaign_code_text(campaign->wanted));
    return is_found ? 0 : EXIT_FAILURE;
}

static int run_campaign(const struct arguments *arguments)
{
    struct campaign_result result;
    campaign_run(&arguments->campaign, &result);
    bool complete = print_tally(&result) || arguments->are_few;
    if (result.has_failed) {
        printf("seed %" PRIu64 " breaks a promise: %s: %s\n", result.seed,
               campaign_code_text(result.code), result.why);
        (void)campaign_shrink(result.seed, stdout);
    }
    if (!result.has_failed && !complete)
        printf("a fault never struck, or a promise was never looked at: run more seeds\n");
    return result.has_failed || !complete ? EXIT_FAILURE : 0;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {options,
                                     parse,
                                     NULL,
                                     "Runs the ledger and the grants in a simulated world, where "
                                     "everything goes wrong that may, "
                                     "and checks its promises. A seed decides all that happens.\v"
                                     "Ends with 0 where every promise held, with 1 where one was "
                                     "broken, a fault never struck or "
                                     "a promise was never looked at.",
                                     NULL,
                                     NULL,
                                     NULL};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct arguments arguments = {
        .campaign = {.from = 1,
                     .seeds = 1000,
                     .jobs = processors > 0 && processors <= 64 ? (unsigned)processors : 2}};
    argp_err_exit_status = EX_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    switch (arguments.action) {
    case ACTION_LIST:
        list();
        return 0;
    case ACTION_REPLAY:
        return campaign_replay(arguments.seed, stdout) != CAMPAIGN_HOLDS;
    case ACTION_SHRINK:
        return campaign_shrink(arguments.seed, stdout) != CAMPAIGN_HOLDS;
    case ACTION_RECORD:
        return campaign_record(&arguments.campaign, arguments.file);
    case ACTION_CAMPAIGN:
        break;
    }
    return arguments.campaign.wanted != 0 ? find(&arguments.campaign) : run_campaign(&arguments);
}
