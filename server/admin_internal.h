/*
 * What the admin thread's files share: a request that was read whole, and the answer that a route
 * makes of it. admin.c moves the bytes, admin_routes.c finds the route, admin_accounts.c and
 * admin_health.c do the work.
 */
#ifndef TOLLGATE_SERVER_ADMIN_INTERNAL_H
#define TOLLGATE_SERVER_ADMIN_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/http_head.h"
#include "server/node.h"

struct admin_request {
    enum http_method method;
    struct http_text path, query; /* of the target, undecoded; query.data is NULL where absent */
    struct http_text body;
    /* Set by the route: */
    enum ledger_operation operation;
    char issuer[LEDGER_ISSUER_MAX + 1];
    char account[LEDGER_ACCOUNT_MAX + 1];
};

struct admin_answer {
    unsigned status;
    bool problem;           /* application/problem+json (RFC 9457) */
    const char *allow;      /* of a 405 */
    unsigned retry_after_s; /* of a 503; 0: none */
    char *body;             /* owns (free) */
    size_t length;
};

/* Finds and runs the route. There is an answer afterwards, whatever the request. */
void admin_route(struct node *node, struct admin_request *request, struct admin_answer *answer);

/* Makes the answer of a JSON value, whose reference it takes. */
void admin_answer_json(struct admin_answer *answer, unsigned status, json_t *value);
/* A refusal: `reason` is one word for programs, the rest a sentence for people. */
void admin_answer_problem(struct admin_answer *answer, unsigned status, const char *reason,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));
const char *admin_status_phrase(unsigned status);

/* The routes' handlers. */
void admin_health(struct node *node, const struct admin_request *request,
                  struct admin_answer *answer);
void admin_account_show(struct node *node, const struct admin_request *request,
                        struct admin_answer *answer);
void admin_account_change(struct node *node, const struct admin_request *request,
                          struct admin_answer *answer);
void admin_account_usage(struct node *node, const struct admin_request *request,
                         struct admin_answer *answer);

/* Answers a negative errno of the ledger. */
void admin_answer_errno(struct admin_answer *answer, int failure);

#endif
