/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches the watermarks: how many records of each account Redis has of each instance. See watermarks.c.
 */
#ifndef TOLLGATE_SIMULATION_WATERMARKS_H
#define TOLLGATE_SIMULATION_WATERMARKS_H

#include <stdbool.h>
#include <stdint.h>

struct sim;

void watch_create(struct sim *sim);
void watch_destroy(struct sim *sim);
/* Redis has taken these records of an account. */
void watch_takes(struct sim *sim, unsigned account, const char *instance, uint64_t from,
                 uint64_t to);
/* It has so many by a checkpoint. False: it had them before. */
bool watch_fills_to(struct sim *sim, unsigned account, const char *instance, uint64_t to);
/* How many records of an account Redis ever had of this instance. */
uint64_t watch_most(const struct sim *sim, const char *instance, unsigned account);
/* Whether it has fewer now. */
bool watch_lacks(struct sim *sim, const char *instance, unsigned account);
/* Redis has lost data of the account. */
void watch_lost_watermarks(struct sim *sim, unsigned account);

#endif
