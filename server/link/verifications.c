/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Budgets of failed verifications, and the digests of verified tokens: three set-associative tables
 * that never grow. token_cache.c calls it. See verifications.h.
 */
#include "server/link/verifications.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#define WAYS 8

/*
 * A bucket of `failed_max` verifications that gains one in each interval_us, kept as the moment
 * when it is full again (the generic cell rate algorithm). When that moment has passed, the place
 * is free.
 */
struct budget {
    unsigned char key[CLIENT_SUBSCRIBER_SIZE];
    uint64_t full_us;
    bool said; /* verifications_tell has reported already that it is used up */
};

struct seen {
    unsigned char digest[VERIFICATIONS_DIGEST_SIZE];
    uint64_t generation; /* of the keys that it was verified by; only `failed` reads it. 0: free */
};

struct seen_set {
    struct seen way[WAYS];
    unsigned next; /* the oldest way, which is overwritten next */
};

struct seen_table {
    struct seen_set *sets; /* owns */
    size_t mask;
};

struct verifications {
    pthread_mutex_t mutex; /* of the three tables */
    uint64_t seed;         /* random, so that nobody can choose addresses that meet in one set */
    uint64_t burst_us, interval_us;
    unsigned retry_s;
    struct budget (*budgets)[WAYS]; /* owns */
    struct seen_table good, failed;
};

#define BUDGET_SETS (VERIFICATIONS_ADDRESSES_MAX / WAYS)

static bool seen_create(struct seen_table *table, uint64_t entries)
{
    size_t sets = 1;
    while (sets * WAYS < entries)
        sets *= 2;
    table->mask = sets - 1;
    table->sets = calloc(sets, sizeof(*table->sets));
    return table->sets != NULL;
}

int verifications_create(struct verifications **out, uint64_t failed_max, uint64_t per_minute,
                         uint64_t good_max)
{
    struct verifications *verifications = calloc(1, sizeof(*verifications));
    *out = NULL;
    if (verifications == NULL)
        return -ENOMEM;
    pthread_mutex_init(&verifications->mutex, NULL);
    verifications->interval_us = 60000000 / per_minute;
    verifications->burst_us = failed_max * verifications->interval_us;
    verifications->retry_s = (unsigned)((60 + per_minute - 1) / per_minute);
    verifications->budgets = calloc(BUDGET_SETS, sizeof(*verifications->budgets));
    if (good_max > VERIFICATIONS_GOOD_MAX)
        good_max = VERIFICATIONS_GOOD_MAX;
    bool made = verifications->budgets != NULL && seen_create(&verifications->good, good_max) &&
                seen_create(&verifications->failed, VERIFICATIONS_FAILED_MAX);
    bool random = getrandom(&verifications->seed, sizeof(verifications->seed), 0) ==
                  (ssize_t)sizeof(verifications->seed);
    if (!made || !random) {
        verifications_destroy(&verifications);
        return made ? -EIO : -ENOMEM;
    }
    *out = verifications;
    return 0;
}

void verifications_destroy(struct verifications **verifications)
{
    if (*verifications == NULL)
        return;
    pthread_mutex_destroy(&(*verifications)->mutex);
    free((*verifications)->budgets);
    free((*verifications)->good.sets);
    free((*verifications)->failed.sets);
    free(*verifications);
    *verifications = NULL;
}

unsigned verifications_retry_s(const struct verifications *verifications)
{
    return verifications->retry_s;
}

/* ---- digests ---- */

static struct seen_set *set_of(const struct seen_table *table,
                               const unsigned char digest[VERIFICATIONS_DIGEST_SIZE])
{
    uint64_t number;
    memcpy(&number, digest, sizeof(number));
    return &table->sets[number & table->mask];
}

static struct seen *find_seen(const struct seen_table *table,
                              const unsigned char digest[VERIFICATIONS_DIGEST_SIZE])
{
    struct seen_set *set = set_of(table, digest);
    for (unsigned i = 0; i < WAYS; i++) {
        struct seen *seen = &set->way[i];
        if (seen->generation != 0 && memcmp(seen->digest, digest, sizeof(seen->digest)) == 0)
            return seen;
    }
    return NULL;
}

static void remember(struct seen_table *table,
                     const unsigned char digest[VERIFICATIONS_DIGEST_SIZE], uint64_t generation)
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

bool verifications_has_failed(struct verifications *verifications,
                              const unsigned char digest[VERIFICATIONS_DIGEST_SIZE],
                              uint64_t generation)
{
    pthread_mutex_lock(&verifications->mutex);
    const struct seen *seen = find_seen(&verifications->failed, digest);
    bool failed = seen != NULL && seen->generation == generation;
    pthread_mutex_unlock(&verifications->mutex);
    return failed;
}

/* ---- budgets ---- */

/* The address's place, and *found; else the place of its set that is, or will be, free soonest. */
static struct budget *find_budget(const struct verifications *verifications,
                                  const struct client_address *client, bool *found)
{
    unsigned char key[CLIENT_SUBSCRIBER_SIZE];
    client_address_subscriber(client, key);
    size_t index = XXH3_64bits_withSeed(key, sizeof(key), verifications->seed) % BUDGET_SETS;
    struct budget *set = verifications->budgets[index], *soonest = &set[0];
    for (unsigned i = 0; i < WAYS; i++) {
        *found = set[i].full_us != 0 && memcmp(set[i].key, key, sizeof(key)) == 0;
        if (*found)
            return &set[i];
        if (set[i].full_us < soonest->full_us)
            soonest = &set[i];
    }
    return soonest;
}

static bool is_used_up(const struct verifications *verifications, const struct budget *budget,
                       uint64_t now_us)
{
    return budget->full_us > now_us &&
           budget->full_us + verifications->interval_us - now_us > verifications->burst_us;
}

bool verifications_may(struct verifications *verifications,
                       const unsigned char digest[VERIFICATIONS_DIGEST_SIZE],
                       const struct client_address *client, uint64_t now_ms)
{
    bool found;
    if (client == NULL || verifications->burst_us == 0)
        return true;
    pthread_mutex_lock(&verifications->mutex);
    const struct budget *budget = find_budget(verifications, client, &found);
    bool may = !found || !is_used_up(verifications, budget, now_ms * 1000) ||
               find_seen(&verifications->good, digest) != NULL;
    pthread_mutex_unlock(&verifications->mutex);
    return may;
}

/* Takes one verification off the client's budget. True where that used it up, for the first time
 * since it was full. */
static bool spend(struct verifications *verifications, const struct client_address *client,
                  uint64_t now_us)
{
    bool found;
    struct budget *budget = find_budget(verifications, client, &found);
    if (!found) {
        client_address_subscriber(client, budget->key);
        budget->full_us = 0;
    }
    if (budget->full_us <= now_us) {
        budget->full_us = now_us;
        budget->said = false;
    }
    budget->full_us += verifications->interval_us;
    /* Verifications that ran at the same time may overdraw the budget. The debt is forgiven, as
     * others who share the address would have to pay it. */
    if (budget->full_us - now_us > verifications->burst_us)
        budget->full_us = now_us + verifications->burst_us;
    bool news = is_used_up(verifications, budget, now_us) && !budget->said;
    budget->said = budget->said || news;
    return news;
}

bool verifications_tell(struct verifications *verifications,
                        const unsigned char digest[VERIFICATIONS_DIGEST_SIZE], uint64_t generation,
                        bool good, const struct client_address *client, uint64_t now_ms)
{
    bool news = false;
    pthread_mutex_lock(&verifications->mutex);
    remember(good ? &verifications->good : &verifications->failed, digest, generation);
    if (!good && client != NULL && verifications->burst_us > 0)
        news = spend(verifications, client, now_ms * 1000);
    pthread_mutex_unlock(&verifications->mutex);
    return news;
}
