/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mapped table of what the lane holds. See holdings.h. Nothing here is synced: after a loss of
 * power the table may be older, and telling Redis what is not held any more does no harm; nor does an
 * older time of the last note: a Redis that has the latest one has had that, too.
 */
#include "storage/ledger/holdings.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/base/check.h"
#include "storage/ledger/redis_table.h"

#define PLACE_BYTES 256
#define TABLE_BYTES ((size_t)HOLDINGS_MAX * PLACE_BYTES)
#define NOTED_AT    (PLACE_BYTES - sizeof(uint64_t)) /* noted_ms, at the end of the first place */

enum place_state { PLACE_FREE, PLACE_OF_ACCOUNT, PLACE_OF_LINK };

/* As it stands in the file; a process may be killed between any two of its writes. */
struct place {
    _Atomic uint32_t state; /* enum place_state; written last */
    uint32_t length;
    unsigned char link_id[LEDGER_LINK_ID_BYTES];
    char text[HOLDING_TEXT_MAX];
};
_Static_assert(sizeof(struct place) <= NOTED_AT, "a place has room for an account's name");

struct holdings {
    pthread_mutex_t lock;
    unsigned char *table;       /* owns */
    int next;                   /* where to look for a free place */
    bool is_left[HOLDINGS_MAX]; /* by a process before this one */
};

static struct place *place_at(const struct holdings *holdings, int place)
{
    check(place >= 0 && place < HOLDINGS_MAX);
    return (struct place *)(void *)(holdings->table + (size_t)place * PLACE_BYTES);
}

/* A table that was cut or overwritten: its places are not believed. */
static bool is_sound(struct place *place)
{
    uint32_t state = atomic_load(&place->state);
    return (state == PLACE_OF_ACCOUNT || state == PLACE_OF_LINK) && place->length > 0 &&
           place->length <= HOLDING_TEXT_MAX;
}

/* Looks for what the process before left, by reading: nearly all places are free, and the page of each
 * would have to be mapped. */
static int look_at_left(struct holdings *holdings, int fd)
{
    unsigned char read[64 * PLACE_BYTES];
    for (int i = 0; i < HOLDINGS_MAX; i++) {
        size_t at = (size_t)i * PLACE_BYTES, within = at % sizeof(read);
        uint32_t state;
        if (within == 0 && pread(fd, read, sizeof(read), (off_t)at) != (ssize_t)sizeof(read))
            return -EIO;
        memcpy(&state, read + within + offsetof(struct place, state), sizeof(state));
        if (state == PLACE_FREE)
            continue;
        struct place *place = place_at(holdings, i);
        holdings->is_left[i] = is_sound(place);
        if (!holdings->is_left[i])
            atomic_store(&place->state, PLACE_FREE);
    }
    return 0;
}

/* Maps a file whose blocks all exist, since a write to one that the disk has no room for would be a
 * signal. */
static int map(struct holdings *holdings, int directory)
{
    int fd = openat(directory, "pools", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int result = -posix_fallocate(fd, 0, (off_t)TABLE_BYTES);
    void *table = MAP_FAILED;
    if (result == 0) {
        table = mmap(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        result = table == MAP_FAILED ? -errno : 0;
    }
    if (result == 0) {
        holdings->table = table;
        result = look_at_left(holdings, fd);
    }
    close(fd);
    return result;
}

int holdings_open(struct holdings **out, int directory)
{
    struct holdings *holdings = calloc(1, sizeof(*holdings));
    if (holdings == NULL)
        return -ENOMEM;
    pthread_mutex_init(&holdings->lock, NULL);
    int result = map(holdings, directory);
    if (result != 0)
        holdings_close(&holdings);
    *out = holdings;
    return result;
}

void holdings_close(struct holdings **holdings)
{
    if (*holdings == NULL)
        return;
    if ((*holdings)->table != NULL)
        munmap((*holdings)->table, TABLE_BYTES);
    pthread_mutex_destroy(&(*holdings)->lock);
    free(*holdings);
    *holdings = NULL;
}

/* Under the lock. -1: all places are taken. */
static int free_place(const struct holdings *holdings)
{
    for (int i = 0; i < HOLDINGS_MAX; i++) {
        int place = (holdings->next + i) % HOLDINGS_MAX;
        if (atomic_load(&place_at(holdings, place)->state) == PLACE_FREE)
            return place;
    }
    return -1;
}

int holdings_note(struct holdings *holdings, const struct holding *holding)
{
    if (holdings == NULL)
        return -1;
    pthread_mutex_lock(&holdings->lock);
    int at = free_place(holdings);
    if (at >= 0) {
        struct place *place = place_at(holdings, at);
        place->length = holding->length;
        memcpy(place->text, holding->text, sizeof(place->text));
        memcpy(place->link_id, holding->link_id, sizeof(place->link_id));
        atomic_store(&place->state, holding->of_link ? PLACE_OF_LINK : PLACE_OF_ACCOUNT);
        holdings->next = (at + 1) % HOLDINGS_MAX;
    }
    pthread_mutex_unlock(&holdings->lock);
    return at;
}

void holdings_forget(struct holdings *holdings, int place)
{
    if (holdings == NULL || place < 0)
        return;
    pthread_mutex_lock(&holdings->lock);
    atomic_store(&place_at(holdings, place)->state, PLACE_FREE);
    holdings->is_left[place] = false;
    pthread_mutex_unlock(&holdings->lock);
}

int holdings_left(struct holdings *holdings, int from, struct holding *out)
{
    int found = -1;
    if (holdings == NULL)
        return -1;
    pthread_mutex_lock(&holdings->lock);
    for (int i = from; i < HOLDINGS_MAX && found < 0; i++) {
        const struct place *place = place_at(holdings, i);
        if (!holdings->is_left[i])
            continue;
        found = i;
        out->length = place->length;
        memcpy(out->text, place->text, sizeof(out->text));
        memcpy(out->link_id, place->link_id, sizeof(out->link_id));
        out->of_link = atomic_load(&place->state) == PLACE_OF_LINK;
    }
    pthread_mutex_unlock(&holdings->lock);
    return found;
}

static _Atomic uint64_t *noted(const struct holdings *holdings)
{
    return (_Atomic uint64_t *)(void *)(holdings->table + NOTED_AT);
}

uint64_t holdings_noted_ms(const struct holdings *holdings)
{
    uint64_t noted_ms = holdings != NULL ? atomic_load(noted(holdings)) : 0;
    return noted_ms <= LEDGER_NUMBER_MAX ? noted_ms : 0; /* more: the file was overwritten */
}

void holdings_keep_noted(struct holdings *holdings, uint64_t noted_ms)
{
    if (holdings != NULL)
        atomic_store(noted(holdings), noted_ms);
}
