/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Budgets of failed checks, and the digests of checked tokens: three set-associative tables that
 * never grow. token_cache.c calls it. See checks.h.
 */
#include "server/link/checks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#define WAYS 8

/*
 * A bucket of `failed_max` checks that gains one in each interval_us, kept as the moment when it is
 * full again (the generic cell rate algorithm). When that moment has passed, the place is free.
 */
struct budget {
    unsigned char key[CLIENT_SUBSCRIBER_SIZE];
    uint64_t full_us;
    bool said; /* checks_tell has reported already that it is used up */
};

struct seen {
    unsigned char digest[CHECKS_DIGEST_SIZE];
    uint64_t generation; /* of the keys that it was checked by; only `failed` reads it. 0: free */
};

struct seen_set {
    struct seen way[WAYS];
    unsigned next; /* the oldest way, which is overwritten next */
};

struct seen_table {
    struct seen_set *sets; /* owns */
    size_t mask;
};

struct checks {
    pthread_mutex_t mutex; /* of the three tables */
    uint64_t seed;         /* random, so that nobody can choose addresses that meet in one set */
    uint64_t burst_us, interval_us;
    unsigned retry_s;
    struct budget (*budgets)[WAYS]; /* owns */
    struct seen_table good, failed;
};

#define BUDGET_SETS (CHECKS_ADDRESSES_MAX / WAYS)

static bool seen_create(struct seen_table *table, uint64_t entries)
{
    size_t sets = 1;
    while (sets * WAYS < entries)
        sets *= 2;
    table->mask = sets - 1;
    table->sets = calloc(sets, sizeof(*table->sets));
    return table->sets != NULL;
}

int checks_create(struct checks **out, uint64_t failed_max, uint64_t per_minute, uint64_t good_max)
{
    struct checks *checks = calloc(1, sizeof(*checks));
    *out = NULL;
    if (checks == NULL)
        return -ENOMEM;
    pthread_mutex_init(&checks->mutex, NULL);
    checks->interval_us = 60000000 / per_minute;
    checks->burst_us = failed_max * checks->interval_us;
    checks->retry_s = (unsigned)((60 + per_minute - 1) / per_minute);
    checks->budgets = calloc(BUDGET_SETS, sizeof(*checks->budgets));
    if (good_max > CHECKS_GOOD_MAX)
        good_max = CHECKS_GOOD_MAX;
    bool made = checks->budgets != NULL && seen_create(&checks->good, good_max) &&
                seen_create(&checks->failed, CHECKS_FAILED_MAX);
    bool random =
        getrandom(&checks->seed, sizeof(checks->seed), 0) == (ssize_t)sizeof(checks->seed);
    if (!made || !random) {
        checks_destroy(&checks);
        return made ? -EIO : -ENOMEM;
    }
    *out = checks;
    return 0;
}

void checks_destroy(struct checks **checks)
{
    if (*checks == NULL)
        return;
    pthread_mutex_destroy(&(*checks)->mutex);
    free((*checks)->budgets);
    free((*checks)->good.sets);
    free((*checks)->failed.sets);
    free(*checks);
    *checks = NULL;
}

unsigned checks_retry_s(const struct checks *checks)
{
    return checks->retry_s;
}

/* ---- digests ---- */

static struct seen_set *set_of(const struct seen_table *table,
                               const unsigned char digest[CHECKS_DIGEST_SIZE])
{
    uint64_t number;
    memcpy(&number, digest, sizeof(number));
    return &table->sets[number & table->mask];
}

static struct seen *find_seen(const struct seen_table *table,
                              const unsigned char digest[CHECKS_DIGEST_SIZE])
{
    struct seen_set *set = set_of(table, digest);
    for (unsigned i = 0; i < WAYS; i++) {
        struct seen *seen = &set->way[i];
        if (seen->generation != 0 && memcmp(seen->digest, digest, sizeof(seen->digest)) == 0)
            return seen;
    }
    return NULL;
}

static void remember(struct seen_table *table, const unsigned char digest[CHECKS_DIGEST_SIZE],
                     uint64_t generation)
{
    struct seen *seen = find_seen(table, digest);
    if (seen == NULL) {
        struct seen_set *set = set_of(table, digest);
        seen = &set->way[set->next];
        set->next = (set->next + 1) % WAYS;
    }
    memcpy(seen->digest, digest, sizeof(seen->digest));
    seen->generation = generation;
}

bool checks_has_failed(struct checks *checks, const unsigned char digest[CHECKS_DIGEST_SIZE],
                       uint64_t generation)
{
    pthread_mutex_lock(&checks->mutex);
    const struct seen *seen = find_seen(&checks->failed, digest);
    bool failed = seen != NULL && seen->generation == generation;
    pthread_mutex_unlock(&checks->mutex);
    return failed;
}

/* ---- budgets ---- */

/* The address's place, and *found; else the place of its set that is, or will be, free soonest. */
static struct budget *find_budget(const struct checks *checks, const struct client_address *client,
                                  bool *found)
{
    unsigned char key[CLIENT_SUBSCRIBER_SIZE];
    client_address_subscriber(client, key);
    size_t index = XXH3_64bits_withSeed(key, sizeof(key), checks->seed) % BUDGET_SETS;
    struct budget *set = checks->budgets[index], *soonest = &set[0];
    for (unsigned i = 0; i < WAYS; i++) {
        *found = set[i].full_us != 0 && memcmp(set[i].key, key, sizeof(key)) == 0;
        if (*found)
            return &set[i];
        if (set[i].full_us < soonest->full_us)
            soonest = &set[i];
    }
    return soonest;
}

static bool is_used_up(const struct checks *checks, const struct budget *budget, uint64_t now_us)
{
    return budget->full_us > now_us &&
           budget->full_us + checks->interval_us - now_us > checks->burst_us;
}

bool checks_may(struct checks *checks, const unsigned char digest[CHECKS_DIGEST_SIZE],
                const struct client_address *client, uint64_t now_ms)
{
    bool found;
    if (client == NULL || checks->burst_us == 0)
        return true;
    pthread_mutex_lock(&checks->mutex);
    const struct budget *budget = find_budget(checks, client, &found);
    bool may = !found || !is_used_up(checks, budget, now_ms * 1000) ||
               find_seen(&checks->good, digest) != NULL;
    pthread_mutex_unlock(&checks->mutex);
    return may;
}

/* Takes one check off the client's budget. True where that used it up, for the first time since it
 * was full. */
static bool spend(struct checks *checks, const struct client_address *client, uint64_t now_us)
{
    bool found;
    struct budget *budget = find_budget(checks, client, &found);
    if (!found) {
        client_address_subscriber(client, budget->key);
        budget->full_us = 0;
    }
    if (budget->full_us <= now_us) {
        budget->full_us = now_us;
        budget->said = false;
    }
    budget->full_us += checks->interval_us;
    /* Checks that ran at the same time may overdraw the budget. The debt is forgiven, as others who
     * share the address would have to pay it. */
    if (budget->full_us - now_us > checks->burst_us)
        budget->full_us = now_us + checks->burst_us;
    bool news = is_used_up(checks, budget, now_us) && !budget->said;
    budget->said = budget->said || news;
    return news;
}

bool checks_tell(struct checks *checks, const unsigned char digest[CHECKS_DIGEST_SIZE],
                 uint64_t generation, bool good, const struct client_address *client,
                 uint64_t now_ms)
{
    bool news = false;
    pthread_mutex_lock(&checks->mutex);
    remember(good ? &checks->good : &checks->failed, digest, generation);
    if (!good && client != NULL && checks->burst_us > 0)
        news = spend(checks, client, now_ms * 1000);
    pthread_mutex_unlock(&checks->mutex);
    return news;
}
