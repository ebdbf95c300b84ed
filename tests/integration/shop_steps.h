/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shop's calls to the admin interface: each answer is compared with the OpenAPI description that
 * the node serves, in status, type and shape.
 */
#ifndef TOLLGATE_TESTS_INTEGRATION_SHOP_STEPS_H
#define TOLLGATE_TESTS_INTEGRATION_SHOP_STEPS_H

#include <jansson.h>

#include "tests/integration/harness.h"

extern json_t *shop_description; /* of the node that shop_site has started */

struct shop_call {
    const char *secret; /* NULL: none */
    const char *method, *path, *parameters, *body;
    const char *template; /* the path in the description; NULL: `path` */
    unsigned status;
    const char *reason; /* of a problem+json */
};

#define CALL(site, ...) json_decref(shop_call_with(site, &(struct shop_call){__VA_ARGS__}))
#define ACCOUNT(rest)   .template = "/v1/accounts/{issuer}/{account}" rest
#define MINE            .secret = SHOP_SECRET

/* A node whose admin interface shops can reach, with further settings or NULL. */
struct site *shop_site(const char *settings);
void shop_site_destroy(struct site **site);

/* Expects that the description has this answer for the operation, of this shape. The caller owns
 * the body (json_decref). */
json_t *expect_described(struct site *site, const struct answer *answer, const char *method,
                         const char *path);
/* Calls, expects the status and that the answer is described. The caller owns the body
 * (json_decref). */
json_t *shop_call_with(struct site *site, const struct shop_call *call);
/* The member of an answer, which is released. */
json_int_t number_of(json_t *object, const char *name);

#endif
