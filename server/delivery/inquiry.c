/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries inquiries from an admin thread to a worker, and their answers back. See inquiry.h; what a
 * worker does with an inquiry stands in driver.c and answer.c, and with an inspection in inspection.c.
 */
#include "server/delivery/inquiry.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/delivery/inspection.h"
#include "server/delivery/worker.h"

#define MARGIN_MS 5000 /* beyond admission_timeout_ms, for a disk that is slow to open the file */

struct inquiry {
    struct inquiry *next;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned references; /* under the mutex: the asking thread's and the worker's */
    bool is_over;        /* under the mutex */
    int status;          /* likewise */
    enum refusal refusal;
    /* Owns, until the asking thread has taken it; the worker fills it in before is_over, and nobody
     * touches it meanwhile. NULL: the inquiry is about `head`. */
    struct inspection *inspection;
    size_t length;
    char head[];
};

/* Marks worker->inquiries as closed: the worker takes no more of them. */
static struct inquiry closed;

static int inquiry_create(struct inquiry **out, const char *head, size_t length)
{
    struct inquiry *inquiry = calloc(1, sizeof(*inquiry) + length);
    if (inquiry == NULL)
        return -ENOMEM;
    pthread_mutex_init(&inquiry->mutex, NULL);
    clock_cond_init(&inquiry->changed);
    inquiry->references = 2;
    inquiry->length = length;
    if (length > 0)
        memcpy(inquiry->head, head, length);
    *out = inquiry;
    return 0;
}

static void inquiry_destroy(struct inquiry *inquiry)
{
    pthread_cond_destroy(&inquiry->changed);
    pthread_mutex_destroy(&inquiry->mutex);
    free(inquiry->inspection);
    free(inquiry);
}

/* Drops a reference under the mutex, which it unlocks. */
static void drop_locked(struct inquiry *inquiry)
{
    bool last = --inquiry->references == 0;
    pthread_mutex_unlock(&inquiry->mutex);
    if (last)
        inquiry_destroy(inquiry);
}

static void end(struct inquiry **ended, int status, enum refusal refusal)
{
    struct inquiry *inquiry = *ended;
    *ended = NULL;
    pthread_mutex_lock(&inquiry->mutex);
    inquiry->is_over = true;
    inquiry->status = status;
    inquiry->refusal = refusal;
    pthread_cond_signal(&inquiry->changed);
    drop_locked(inquiry);
}

void inquiry_answer(struct inquiry **inquiry, enum refusal refusal)
{
    end(inquiry, 0, refusal);
}

void inquiry_cancel(struct inquiry **inquiry)
{
    if (*inquiry != NULL)
        end(inquiry, -ECANCELED, REFUSAL_NONE);
}

const char *inquiry_head(const struct inquiry *inquiry, size_t *length)
{
    *length = inquiry->length;
    return inquiry->head;
}

struct inspection *inquiry_inspection(const struct inquiry *inquiry)
{
    return inquiry->inspection;
}

/* Gives the inquiry to the worker. False where the worker takes no more. */
static bool put(struct worker *worker, struct inquiry *inquiry)
{
    struct inquiry *first = atomic_load(&worker->inquiries);
    do {
        if (first == &closed)
            return false;
        inquiry->next = first;
    } while (!atomic_compare_exchange_weak(&worker->inquiries, &first, inquiry));
    worker_wake(worker);
    return true;
}

static struct timespec deadline_of(const struct node *node)
{
    return clock_monotonic_after((node->config->admission_timeout_ms + MARGIN_MS) * 1000000);
}

/* Has the worker answer. Returns what came of it, with the mutex locked and the caller's reference
 * still held, unless that is -ECANCELED with *asked NULL: the worker takes no more. */
static int ask(struct node *node, struct worker *worker, struct inquiry **asked)
{
    struct inquiry *inquiry = *asked;
    const struct timespec deadline = deadline_of(node);
    int status = 0;
    if (!put(worker, inquiry)) {
        inquiry_destroy(inquiry);
        *asked = NULL;
        return -ECANCELED;
    }
    pthread_mutex_lock(&inquiry->mutex);
    while (!inquiry->is_over && status == 0)
        status = pthread_cond_timedwait(&inquiry->changed, &inquiry->mutex, &deadline);
    return inquiry->is_over ? inquiry->status : -ETIMEDOUT;
}

int inquiry_ask(struct node *node, const char *head, size_t length, enum refusal *out)
{
    struct inquiry *inquiry;
    int status = inquiry_create(&inquiry, head, length);
    if (status != 0)
        return status;
    status = ask(node, node->workers[0], &inquiry);
    if (inquiry == NULL)
        return status;
    *out = inquiry->refusal;
    drop_locked(inquiry);
    return status;
}

int inquiry_inspect(struct node *node, unsigned worker, struct inspection **out)
{
    struct inquiry *inquiry;
    int status = inquiry_create(&inquiry, NULL, 0);
    if (status != 0)
        return status;
    inquiry->inspection = inspection_create();
    if (inquiry->inspection == NULL) {
        inquiry_destroy(inquiry);
        return -ENOMEM;
    }
    check(worker < node->worker_count);
    status = ask(node, node->workers[worker], &inquiry);
    if (inquiry == NULL)
        return status;
    if (status == 0) {
        *out = inquiry->inspection;
        inquiry->inspection = NULL;
    }
    drop_locked(inquiry);
    return status;
}

struct inquiry *inquiry_take(struct worker *worker)
{
    return atomic_exchange(&worker->inquiries, NULL);
}

struct inquiry *inquiry_next(const struct inquiry *inquiry)
{
    return inquiry->next;
}

void inquiry_close(struct worker *worker)
{
    struct inquiry *inquiry = atomic_exchange(&worker->inquiries, &closed);
    while (inquiry != NULL) {
        struct inquiry *next = inquiry->next;
        check(inquiry != &closed);
        inquiry_cancel(&inquiry);
        inquiry = next;
    }
}
