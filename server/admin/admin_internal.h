/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the admin interface's files share: a request that was read whole, and the answer to it.
 * admin_door.c listens, admin_peers.c moves the bytes, admin_secrets.c tells whose secret came with
 * them, admin_routes.c finds the route, admin_desk.c has the threads that may wait, admin_members.c
 * reads bodies and queries, admin_accounts.c, admin_release.c, admin_links.c, admin_events.c,
 * admin_connections.c, admin_ledger.c, admin_node.c, admin_nodes.c and admin_health.c handle the calls, admin_answer.c shapes the answers, and admin_log.c tells the node's log.
 * Elsewhere only doctor_config.c, which tries the secrets, includes it.
 */
#ifndef TOLLGATE_SERVER_ADMIN_ADMIN_INTERNAL_H
#define TOLLGATE_SERVER_ADMIN_ADMIN_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#include "server/admin/admin_reason.h"
#include "server/delivery/node.h"
#include "server/http/http_head.h"

struct admin_request {
    enum http_method method;
    struct http_text path, query; /* of the target, undecoded; query.data is NULL where absent */
    struct http_text body;
    bool is_operator;                 /* it came over state_dir/admin.sock: all is allowed */
    char shop[LEDGER_ISSUER_MAX + 1]; /* the issuer whose secret it carries; "": none */
    /* Set by the route: */
    enum ledger_operation operation;
    char issuer[LEDGER_ISSUER_MAX + 1];
    char account[LEDGER_ACCOUNT_MAX + 1];
};

struct admin_answer {
    unsigned status;
    const char *reason;     /* of a problem; a constant */
    bool problem;           /* the body is application/problem+json (RFC 9457) */
    const char *allow;      /* of a 405: RFC 9110 10.2.1 */
    unsigned retry_after_s; /* of a 503: RFC 9110 10.2.3; 0: none */
    bool challenge;         /* of a 401: RFC 6750 3 */
    char *body;             /* owns (free) */
    size_t length;
};

/* Bounds. A class is the operators, or one shop; its calls are those at the desk and those whose
 * answers are being sent. */
#define ADMIN_OPERATORS_PEERS_MAX 64 /* connections, without those at the desk */
#define ADMIN_SHOPS_PEERS_MAX     256
#define ADMIN_CLASS_CALLS_MAX     64
#define ADMIN_SHOPS_CALLS_MAX     256 /* of all shops */
#define ADMIN_OWN_DESCRIPTORS     32  /* doors, epoll, spares, one Redis connection per thread */

#define ADMIN_OPERATORS           0 /* the operators' class; those of the issuers follow */

/* One request on its way to its answer. */
struct admin_route;
struct admin_call {
    struct admin_call *next;
    const struct admin_route *route;
    unsigned class;
    struct admin_request request;
    struct admin_answer answer;
};

/*
 * Finds the route of the call, and answers at once what needs no waiting. False: the answer is
 * made. True: the call must go to the desk, whose thread makes the answer with admin_route_run.
 */
bool admin_route(struct node *node, struct admin_call *call);
void admin_route_run(struct node *node, struct admin_call *call);

/* ---- answers: admin_answer.c ---- */

/* Makes the answer from a JSON value and takes its reference. NULL means that memory was short: the
 * answer is then a 503. */
void admin_answer_json(struct admin_answer *answer, unsigned status, json_t *value);
/* Refuses with the status and the Retry-After of the reason. `member` names what is at fault: a
 * member of the body, a parameter of the query or a segment of the path (NULL: none of these).
 * `format` and the rest are a sentence for people. */
void admin_answer_problem(struct admin_answer *answer, enum admin_reason reason, const char *member,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same for a refusal of the file server's table, with a status of the caller's choice. */
void admin_answer_refusal(struct admin_answer *answer, unsigned status, enum refusal refusal,
                          const char *member, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Makes the problem that a negative errno of the ledger stands for. */
void admin_answer_errno(struct admin_answer *answer, int failure);
/* The same for a call about an account, which may be set aside. */
void admin_answer_account_errno(struct node *node, const struct admin_request *request, int failure,
                                struct admin_answer *answer);
/* Refuses a call because the node is stopping. */
void admin_answer_stopping(struct admin_answer *answer);
/* The reason phrase of the status line (RFC 9110 15); a constant. */
const char *admin_status_phrase(unsigned status);

/* The routes' handlers: each makes the answer, and only those that the table of admin_routes.c
 * marks WAITS may block. */
void admin_health(struct node *node, const struct admin_request *request,
                  struct admin_answer *answer);
void admin_ledger(struct node *node, const struct admin_request *request,
                  struct admin_answer *answer);
void admin_connections(struct node *node, const struct admin_request *request,
                       struct admin_answer *answer);
void admin_nodes_list(struct node *node, const struct admin_request *request,
                      struct admin_answer *answer);
void admin_node_show(struct node *node, const struct admin_request *request,
                     struct admin_answer *answer);
void admin_node_change(struct node *node, const struct admin_request *request,
                       struct admin_answer *answer);
void admin_account_show(struct node *node, const struct admin_request *request,
                        struct admin_answer *answer);
void admin_account_change(struct node *node, const struct admin_request *request,
                          struct admin_answer *answer);
void admin_account_usage(struct node *node, const struct admin_request *request,
                         struct admin_answer *answer);

void admin_account_release(struct node *node, const struct admin_request *request,
                           struct admin_answer *answer);
void admin_account_revoke(struct node *node, const struct admin_request *request,
                          struct admin_answer *answer);
void admin_link_revoke(struct node *node, const struct admin_request *request,
                       struct admin_answer *answer);
void admin_link_explain(struct node *node, const struct admin_request *request,
                        struct admin_answer *answer);
void admin_events(struct node *node, const struct admin_request *request,
                  struct admin_answer *answer);
void admin_openapi(struct node *node, const struct admin_request *request,
                   struct admin_answer *answer);

/* Of admin_health.c: the name of a state of the ledger, and what health says of lost data and of the
 * accounts that are set aside (`data_lost`, `data_awaited_from`, `set_aside`). */
const char *admin_ledger_state(enum ledger_state state);
void admin_ledger_troubles(struct ledger *ledger, json_t *out);

/* ---- what a call brings along: admin_members.c ---- */

/* False, with the answer made, where the node has no such issuer configured. */
bool admin_issuer_is_known(const struct node *node, const char *issuer,
                           struct admin_answer *answer);

/* A member that a body may have, and where its value goes. A text is borrowed from the body. */
struct admin_member {
    const char *name;
    enum { ADMIN_MEMBER_TEXT, ADMIN_MEMBER_NUMBER, ADMIN_MEMBER_TRUTH } kind;
    bool required;
    json_int_t low, high; /* of a number, both allowed */
    union {
        const char **text;
        json_int_t *number;
        bool *truth;
    };
};

/* The body as JSON, for the caller to drop; an empty object for an absent body, where
 * `may_be_empty`. NULL, with the answer made, where the body is not JSON. */
json_t *admin_read_json(const struct admin_request *request, bool may_be_empty,
                        struct admin_answer *answer);
/* Reads the members; an absent one leaves its variable as it was. False, with an answer that quotes
 * `form`, where a member is missing, unknown, of another type or out of its bounds. */
bool admin_read_members(json_t *body, const struct admin_member *members, size_t count,
                        const char *form, struct admin_answer *answer);
/* The value of `name` in a query, undecoded; data is NULL where it is absent. */
struct http_text admin_query_value(struct http_text query, const char *name);
/* False, with the answer made, where the query has a parameter that is not among `names`, one
 * without a value, or one twice. */
bool admin_validate_parameters(const struct admin_request *request, const char *const *names,
                               size_t count, struct admin_answer *answer);

/* ---- where they come in: admin_door.c ---- */

/* A socket to accept from: the operators', or the shops'. */
struct admin_door {
    int listen_fd;              /* owns; -1: closed */
    struct sockaddr_un address; /* sun_path "": not a Unix socket */
    bool is_operator;
};

/* Each binds and listens. 0, or a negative errno with a sentence that names the cure. */
int admin_door_open_operators(struct admin_door *door, const struct config *config, char *error,
                              size_t error_size);
int admin_door_open_shops(struct admin_door *door, const struct config *config, char *error,
                          size_t error_size);
/* Closes the socket and removes its name; does nothing to a closed door. */
void admin_door_close(struct admin_door *door);

/* ---- who waits for what: admin_peers.c, admin_desk.c ---- */

struct admin_shops;
struct admin_peers;
/* Starts the thread of the connections, and the desk. Borrows all it is given. 0, or a negative
 * errno; then *out, where it is not NULL, must be stopped all the same. */
int admin_peers_start(struct admin_peers **out, struct admin_shops *shops, struct node *node,
                      const struct admin_door *doors, unsigned door_count);
/* See admin_close_desk. */
void admin_peers_close_desk(struct admin_peers *peers);
/* Closes the desk, sends the answers that are made for STOP_DEADLINE_MS at most, joins, frees. */
void admin_peers_stop(struct admin_peers **peers);

struct admin_desk;
/* Starts the threads. One of them calls `finished` when a call has its answer, under the desk's
 * lock: `finished` must neither block nor call the desk. 0, or a negative errno. */
int admin_desk_open(struct admin_desk **out, struct node *node, void (*finished)(void *context),
                    void *context);
/*
 * Takes a call, which is the desk's until admin_desk_finished gives it back. False at a bound, and
 * once the desk has closed: the call then has its refusal as its answer, and stays the caller's.
 */
bool admin_desk_take(struct admin_desk *desk, struct admin_call *call);
/* The calls that were answered since the last time, linked by `next`; NULL: none. */
struct admin_call *admin_desk_finished(struct admin_desk *desk);
/* Makes room for another call of the class, once the answer to a taken one has been sent. */
void admin_desk_forget(struct admin_desk *desk, unsigned class);
/* Finishes the calls that run, refuses those that wait, joins. May be called twice. */
void admin_desk_close(struct admin_desk *desk);
/* Frees a closed desk; *desk becomes NULL. */
void admin_desk_destroy(struct admin_desk **desk);

/* ---- what the log is told: admin_log.c ---- */

/* Logs a change in one line, which no limit of the log leaves out. Does nothing unless the ledger
 * took the change (`result` is 0 or -EINPROGRESS). `jti` is that of the revoked link, or NULL. */
void admin_log_change(const struct admin_request *request, const struct ledger_request *asked,
                      const char *jti, int result, bool repeated);
/* Logs that an account's keys in Redis were deleted, to be rebuilt, and what came of it. */
void admin_log_release(const struct admin_request *request, bool rebuild, int result);
/* Logs that operators have begun to drain the node, or taken that back. */
void admin_log_draining(bool draining);
/* Counts and logs a 401 or a 403; any other answer is left alone. */
void admin_log_refusal(struct node *node, const struct admin_call *call);

/* ---- whose secret: admin_secrets.c ---- */

struct admin_secrets;
struct trust_warner;
/* Reads each issuer's admin_secret_file. 0, or a negative errno with a sentence. `warner` (NULL:
 * nobody) is told which files other users may read. *out borrows from the configuration. */
int admin_secrets_load(struct admin_secrets **out, const struct config *config,
                       const struct trust_warner *warner, char *error, size_t error_size);
void admin_secrets_destroy(struct admin_secrets **secrets);
/* The id of the issuer that has this secret, or NULL; `secrets` may not be NULL. The time it takes
 * does not depend on which issuer's it is, so that nobody can learn a secret by measuring. */
const char *admin_secrets_find(const struct admin_secrets *secrets, struct http_text secret);

/* The secrets that are in force, of which a reload makes others. */
struct admin_shops {
    pthread_mutex_t mutex;
    struct admin_secrets *secrets; /* owns; under the mutex; NULL: no shops */
};
/* Puts the id of the issuer that has this secret into `shop`, which stays as it is if none has. */
void admin_shops_identify(struct admin_shops *shops, struct http_text secret,
                          char shop[static LEDGER_ISSUER_MAX + 1]);
/* Puts other secrets, which become the shops' own, in the place of those in force. */
void admin_shops_replace(struct admin_shops *shops, struct admin_secrets *fresh);

#endif
