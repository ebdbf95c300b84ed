/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface's desk: the threads that do the calls which may wait for Redis or the disk,
 * and the queues before them. The operators' calls are one class, each shop's another; no class can
 * take all threads, and CLASS_RUNNING_MAX of them are left to the operators whatever the shops do.
 * admin_peers.c hands calls in and takes them back, and never waits here.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/admin_internal.h"
#include "server/base/check.h"

#define THREADS           8
#define CLASS_RUNNING_MAX 2 /* calls of a class: a long report must not hold up its top-ups */
#define SHOPS_RUNNING_MAX (THREADS - CLASS_RUNNING_MAX) /* the other threads are the operators' */

struct class
{
    struct admin_call *first, *last; /* calls that wait, oldest first */
    unsigned taken;                  /* calls that wait, run, or are being answered */
    unsigned running;
};

struct admin_desk {
    struct node *node; /* borrows */
    void (*finished)(void *context);
    void *context;
    pthread_t threads[THREADS];
    unsigned thread_count;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Under the mutex: */
    struct class *classes; /* owns */
    unsigned class_count;
    unsigned turn; /* the class that next_call looks at first */
    unsigned taken, shops_running;
    bool closed;
    struct admin_call *done; /* answered, for admin_desk_finished */
};

static bool may_run(const struct admin_desk *desk, unsigned number)
{
    const struct class *class = &desk->classes[number];
    return class->first != NULL && class->running < CLASS_RUNNING_MAX &&
           (number == ADMIN_OPERATORS || desk->shops_running < SHOPS_RUNNING_MAX);
}

/* The next call, the classes taking turns; NULL where none may run. Under the mutex. */
static struct admin_call *next_call(struct admin_desk *desk)
{
    for (unsigned i = 0; i < desk->class_count; i++) {
        unsigned number = (desk->turn + i) % desk->class_count;
        if (!may_run(desk, number)) {
            continue;
        }
        struct class *class = &desk->classes[number];
        struct admin_call *call = class->first;
        class->first = call->next;
        class->running++;
        desk->shops_running += number != ADMIN_OPERATORS;
        desk->turn = number + 1;
        return call;
    }
    return NULL;
}

static void *run(void *argument)
{
    struct admin_desk *desk = argument;
    (void)pthread_setname_np(pthread_self(), "admin-desk");
    pthread_mutex_lock(&desk->mutex);
    for (;;) {
        struct admin_call *call = next_call(desk);
        if (call == NULL && desk->closed) {
            break;
        }
        if (call == NULL) {
            pthread_cond_wait(&desk->changed, &desk->mutex);
            continue;
        }
        bool closed = desk->closed;
        pthread_mutex_unlock(&desk->mutex);
        if (closed) {
            admin_answer_stopping(&call->answer);
        } else {
            admin_route_run(desk->node, call);
        }
        pthread_mutex_lock(&desk->mutex);
        desk->classes[call->class].running--;
        desk->shops_running -= call->class != ADMIN_OPERATORS;
        call->next = desk->done;
        desk->done = call;
        desk->finished(desk->context);
    }
    pthread_mutex_unlock(&desk->mutex);
    return NULL;
}

bool admin_desk_take(struct admin_desk *desk, struct admin_call *call)
{
    pthread_mutex_lock(&desk->mutex);
    check(call->class < desk->class_count);
    struct class *class = &desk->classes[call->class];
    bool takes = !desk->closed && class->taken < ADMIN_CLASS_CALLS_MAX &&
                 (call->class == ADMIN_OPERATORS ||
                  desk->taken - desk->classes[ADMIN_OPERATORS].taken < ADMIN_SHOPS_CALLS_MAX);
    if (takes) {
        call->next = NULL;
        *(class->first != NULL ? &class->last->next : &class->first) = call;
        class->last = call;
        class->taken++;
        desk->taken++;
        pthread_cond_signal(&desk->changed);
    } else if (desk->closed) {
        admin_answer_stopping(&call->answer);
    } else {
        admin_answer_problem(&call->answer, ADMIN_CALLS_TOO_MANY, NULL,
                             "too many calls are under way; nothing was done, ask again");
    }
    pthread_mutex_unlock(&desk->mutex);
    return takes;
}

struct admin_call *admin_desk_finished(struct admin_desk *desk)
{
    pthread_mutex_lock(&desk->mutex);
    struct admin_call *done = desk->done;
    desk->done = NULL;
    pthread_mutex_unlock(&desk->mutex);
    return done;
}

void admin_desk_forget(struct admin_desk *desk, unsigned class)
{
    pthread_mutex_lock(&desk->mutex);
    check(desk->classes[class].taken > 0);
    desk->classes[class].taken--;
    desk->taken--;
    pthread_mutex_unlock(&desk->mutex);
}

int admin_desk_open(struct admin_desk **out, struct node *node, void (*finished)(void *context),
                    void *context)
{
    struct admin_desk *desk = calloc(1, sizeof(*desk));
    if (desk == NULL) {
        return -ENOMEM;
    }
    desk->node = node;
    desk->finished = finished;
    desk->context = context;
    pthread_mutex_init(&desk->mutex, NULL);
    pthread_cond_init(&desk->changed, NULL);
    desk->class_count = 1 + node->config->issuers_count;
    desk->classes = calloc(desk->class_count, sizeof(*desk->classes));
    int failure = desk->classes == NULL ? -ENOMEM : 0;
    /* The threads block all signals, so that the main thread takes those to the node. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (failure == 0 && desk->thread_count < THREADS) {
        failure = -pthread_create(&desk->threads[desk->thread_count], NULL, run, desk);
        desk->thread_count += failure == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    *out = desk;
    if (failure != 0) {
        admin_desk_close(desk);
        admin_desk_destroy(out);
    }
    return failure;
}

void admin_desk_close(struct admin_desk *desk)
{
    pthread_mutex_lock(&desk->mutex);
    desk->closed = true;
    pthread_cond_broadcast(&desk->changed);
    pthread_mutex_unlock(&desk->mutex);
    while (desk->thread_count > 0) {
        (void)pthread_join(desk->threads[--desk->thread_count], NULL);
    }
}

void admin_desk_destroy(struct admin_desk **desk)
{
    struct admin_desk *gone = *desk;
    if (gone == NULL) {
        return;
    }
    *desk = NULL;
    check(gone->thread_count == 0);
    pthread_cond_destroy(&gone->changed);
    pthread_mutex_destroy(&gone->mutex);
    free(gone->classes);
    free(gone);
}
