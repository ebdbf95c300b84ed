/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many descriptors a node needs by its configuration. The node asks for them at its start, and
 * the doctor compares them with the limits.
 */
#ifndef TOLLGATE_SERVER_DOCTOR_DESCRIPTOR_NEEDS_H
#define TOLLGATE_SERVER_DOCTOR_DESCRIPTOR_NEEDS_H

#include <stdint.h>

struct config;

/* How many are in use when everything is open that the configuration allows. */
uint64_t descriptor_needs_most(const struct config *config);
/* How many a node cannot serve without: its own, the reserve, and those of a few clients. */
uint64_t descriptor_needs_least(const struct config *config);

/* Raises the soft limit to what is wanted, as far as the hard limit allows. */
void descriptor_needs_raise(const struct config *config);

#endif
