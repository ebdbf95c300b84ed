/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of HTTP's semantics share: their site, and requests by a bare socket. */
#ifndef TOLLGATE_TESTS_INTEGRATION_SEMANTICS_STEPS_H
#define TOLLGATE_TESTS_INTEGRATION_SEMANTICS_STEPS_H

#include "tests/integration/harness.h"

#define SHOP_PAGE "https://shop.example"

struct facts {
    const char *etag, *modified;
};

/* A site with TRACK_TINY, TRACK_LONG and the account alice, for the pages of SHOP_PAGE. */
struct site *semantics_site(void);
/* The validators of a link's file, once the file is hashed. */
struct facts facts_of(struct site *site, const char *link);
/* Puts the facts in the place of {etag}, {modified}, {older}, {newer} and {size}. */
const char *fill_in(struct site *site, const struct facts *facts, const char *text);
/* Sends a request with these fields, which are whole lines. */
const struct answer *request(struct site *site, const char *method, const char *target,
                             const char *fields);

#endif
