/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load: clients that download without a pause, in a thread of their own, while the test does something
 * to the node or its Redis. Their answers are counted for each group of clients and for each time that
 * the test names, and a request belongs to the time in which it was sent.
 */
#ifndef TOLLGATE_TESTS_INTEGRATION_LOAD_STEPS_H
#define TOLLGATE_TESTS_INTEGRATION_LOAD_STEPS_H

#include "tests/integration/harness.h"

#define LOAD_TIMES 16

struct load;
/* Clients of one account at one node; the load's. */
struct load_group;

struct load_options {
    struct site *at, *by; /* whom they ask; who signs their links, NULL: `at` */
    const char *account, *path;
    size_t length;    /* they ask for so many bytes from the file's beginning; 0: for the file */
    uint64_t rate;    /* of each link; 0: none */
    unsigned clients; /* how many ask at once */
    bool comes_later; /* not before load_let_in */
};

/* What the requests of a group that were sent in one time, or in all, have come to. */
struct load_count {
    uint64_t served,
        bytes;        /* answers that came whole, and their bytes, each compared with the file's */
    uint64_t waiting; /* 503 redis_unavailable */
    uint64_t elsewhere; /* 503 funds_held_elsewhere */
};

struct load *load_create(void);
/* Adds a group, before load_start. Each of its clients takes many links in turn. */
struct load_group *load_add_with(struct load *load, const struct load_options *options);
#define load_add(load, ...) load_add_with(load, __extension__ &(struct load_options){__VA_ARGS__})
void load_start(struct load *load);
void load_let_in(struct load_group *group);
/* From now on requests are sent in the next time, which is returned; the first one is 0. */
unsigned load_next_time(struct load *load);
unsigned load_time(struct load *load);
struct load_count load_counted(struct load *load, struct load_group *group, unsigned time);
struct load_count load_counted_all(struct load *load, struct load_group *group);
/* Waits until so many requests of the present time were served, or were told to wait for either reason.
 * Fails the test where any group got an answer that is neither of the above, or was cut. */
void load_await_served(struct load *load, struct load_group *group, uint64_t served);
void load_await_waiting(struct load *load, struct load_group *group, uint64_t waiting);
/* Sends no more requests, and waits until the last one is answered. The counts can be read until
 * load_destroy. */
void load_stop(struct load *load);
void load_destroy(struct load **load);

#endif
