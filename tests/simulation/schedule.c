/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap of moments, and timers on it. See schedule.h.
 */
#include "tests/simulation/schedule.h"

#include <stdlib.h>

#include "server/base/check.h"

static bool is_before(const struct moment *one, const struct moment *other)
{
    return one->at_us != other->at_us ? one->at_us < other->at_us : one->order < other->order;
}

static void swap(struct moment *one, struct moment *other)
{
    struct moment kept = *one;
    *one = *other;
    *other = kept;
}

void schedule_free(struct schedule *schedule)
{
    free(schedule->moments);
    *schedule = (struct schedule){0};
}

void schedule_add(struct schedule *schedule, uint64_t at_us, schedule_fire *fire, void *object,
                  uint64_t number)
{
    if (schedule->count == schedule->room) {
        schedule->room = schedule->room == 0 ? 1024 : 2 * schedule->room;
        schedule->moments = realloc(schedule->moments, schedule->room * sizeof(struct moment));
        check(schedule->moments != NULL);
    }
    size_t at = schedule->count++;
    schedule->moments[at] = (struct moment){
        .at_us = at_us > schedule->now_us ? at_us : schedule->now_us,
        .order = ++schedule->order,
        .fire = fire,
        .object = object,
        .number = number,
    };
    for (; at > 0 && is_before(&schedule->moments[at], &schedule->moments[(at - 1) / 2]);
         at = (at - 1) / 2)
        swap(&schedule->moments[at], &schedule->moments[(at - 1) / 2]);
}

bool schedule_take(struct schedule *schedule, uint64_t until_us, struct moment *out)
{
    if (schedule->count == 0 || schedule->moments[0].at_us > until_us) {
        schedule->now_us = until_us;
        return false;
    }
    struct moment *heap = schedule->moments;
    *out = heap[0];
    schedule->now_us = out->at_us;
    const struct moment *last = &heap[--schedule->count];
    size_t at = 0;
    for (size_t child = 1; child < schedule->count; child = 2 * at + 1) {
        if (child + 1 < schedule->count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = *last;
    return true;
}

/* ---- timers ---- */

static void fire_timer(void *object, uint64_t number)
{
    struct timer *timer = object;
    if (number != timer->generation || timer->at_us == 0)
        return;
    timer->at_us = 0;
    timer->fire(timer->object, 0);
}

void timer_set(struct schedule *schedule, struct timer *timer, uint64_t at_us)
{
    if (at_us <= schedule->now_us)
        at_us = schedule->now_us;
    if (timer->at_us != 0 && timer->at_us <= at_us)
        return;
    timer->at_us = at_us;
    schedule_add(schedule, at_us, fire_timer, timer, ++timer->generation);
}

void timer_stop(struct timer *timer)
{
    timer->at_us = 0;
    timer->generation++;
}
