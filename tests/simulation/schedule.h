/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens next: a heap of moments, in the order of their time and then of their making. One
 * thread takes them one after another; nothing else moves the simulated time.
 */
#ifndef TOLLGATE_SIMULATION_SCHEDULE_H
#define TOLLGATE_SIMULATION_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Called when its moment has come. `number` is as it was given. */
typedef void schedule_fire(void *object, uint64_t number);

struct moment {
    uint64_t at_us, order;
    schedule_fire *fire;
    void *object; /* borrows */
    uint64_t number;
};

struct schedule {
    uint64_t now_us;        /* since the run began */
    uint64_t order;         /* of the moment made last */
    struct moment *moments; /* owns: a binary heap */
    size_t count, room;
};

void schedule_free(struct schedule *schedule);
void schedule_add(struct schedule *schedule, uint64_t at_us, schedule_fire *fire, void *object,
                  uint64_t number);
/* Takes the next moment that is not after until_us, and moves the time there. False where there is
 * none; then the time is until_us. */
bool schedule_take(struct schedule *schedule, uint64_t until_us, struct moment *out);

/* A moment that may be moved to an earlier time, or called off. */
struct timer {
    schedule_fire *fire; /* called with the number 0 */
    void *object;
    uint64_t generation, at_us; /* at_us 0: it is not set */
};
/* Sets the timer, unless it is set for an earlier time. */
void timer_set(struct schedule *schedule, struct timer *timer, uint64_t at_us);
void timer_stop(struct timer *timer);

#endif
