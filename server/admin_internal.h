/*
 * What the admin interface's files share: a request that was read whole, and the answer that a route
 * makes of it. admin_door.c listens, admin_peers.c moves the bytes, admin_secrets.c says whose they
 * are, admin_routes.c finds the route, admin_desk.c has the threads that may wait, admin_members.c
 * reads bodies and queries, admin_accounts.c, admin_links.c, admin_events.c and admin_health.c do the
 * work.
 */
#ifndef TOLLGATE_SERVER_ADMIN_INTERNAL_H
#define TOLLGATE_SERVER_ADMIN_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#include "server/admin_reason.h"
#include "server/http_head.h"
#include "server/node.h"

struct admin_request {
    enum http_method method;
    struct http_text path, query; /* of the target, undecoded; query.data is NULL where absent */
    struct http_text body;
    bool is_operator;                 /* over state_dir/admin.sock: everything */
    char shop[LEDGER_ISSUER_MAX + 1]; /* whose secret it carries; "" for none */
    /* Set by the route: */
    enum ledger_operation operation;
    char issuer[LEDGER_ISSUER_MAX + 1];
    char account[LEDGER_ACCOUNT_MAX + 1];
};

struct admin_answer {
    unsigned status;
    const char *reason;     /* of a problem: a constant */
    bool problem;           /* application/problem+json (RFC 9457) */
    const char *allow;      /* of a 405 */
    unsigned retry_after_s; /* of a 503; 0: none */
    bool challenge;         /* of a 401: RFC 6750 3 */
    char *body;             /* owns (free) */
    size_t length;
};

/* Bounds. A class is the operators, or one shop; its calls are those at the desk and those whose
 * answers are being sent. */
#define ADMIN_OPERATORS_PEERS_MAX 64 /* connections that are received from or sent to */
#define ADMIN_SHOPS_PEERS_MAX     256
#define ADMIN_CLASS_CALLS_MAX     64
#define ADMIN_SHOPS_CALLS_MAX     256 /* of all shops */
#define ADMIN_OWN_DESCRIPTORS     32  /* doors, epoll, spares, a Redis connection a thread */

#define ADMIN_OPERATORS           0 /* the operators' class; issuers follow in the configuration's order */

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
 * Finds the route and answers what needs no waiting: false, and the answer is there. True: the call
 * is the desk's to do, by admin_route_run, after which there is an answer, too.
 */
bool admin_route(struct node *node, struct admin_call *call);
void admin_route_run(struct node *node, struct admin_call *call);
/* Refuses a call because the node is stopping. */
void admin_answer_stopping(struct admin_answer *answer);

/* Makes the answer of a JSON value, whose reference it takes. */
void admin_answer_json(struct admin_answer *answer, unsigned status, json_t *value);
/* A refusal with the status and the Retry-After of its reason. `member` names the member of the body,
 * the parameter of the query or the segment of the path that is at fault, NULL: none is; the rest is
 * a sentence for people. */
void admin_answer_problem(struct admin_answer *answer, enum admin_reason reason, const char *member,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same for a reason of the file server's table, with a status that may be another here. */
void admin_answer_refusal(struct admin_answer *answer, unsigned status, enum refusal refusal,
                          const char *member, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
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

/* False, with the answer made, where the node has no such issuer configured. */
bool admin_issuer_is_known(const struct node *node, const char *issuer,
                           struct admin_answer *answer);

/* ---- what a call brings along: admin_members.c ---- */

/* A member that a body may have, and where its value goes, which borrows from the body. */
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

/* The body as JSON, which may be absent where `may_be_empty`; NULL with the answer made. */
json_t *admin_read_json(const struct admin_request *request, bool may_be_empty,
                        struct admin_answer *answer);
/* Reads the members; what is absent keeps its value. False with the answer made, which quotes `form`,
 * where one is missing, unknown, of another type or out of its bounds. */
bool admin_read_members(json_t *body, const struct admin_member *members, size_t count,
                        const char *form, struct admin_answer *answer);
/* The value of `name` in a query, undecoded; data is NULL where it is absent. */
struct http_text admin_query_value(struct http_text query, const char *name);
/* False, with the answer made, where the query has a parameter that is not of `names`, one without a
 * value, or one twice. */
bool admin_check_parameters(const struct admin_request *request, const char *const *names,
                            size_t count, struct admin_answer *answer);

/* ---- where they come in: admin_door.c ---- */

/* A socket to accept from: the operators', or the shops'. */
struct admin_door {
    int listen_fd;              /* owns; -1: closed */
    struct sockaddr_un address; /* sun_path "": not a Unix socket */
    bool is_operator;
};

/* 0, or a negative errno with a sentence that names the cure. */
int admin_door_open_operators(struct admin_door *door, const struct config *config, char *error,
                              size_t error_size);
int admin_door_open_shops(struct admin_door *door, const struct config *config, char *error,
                          size_t error_size);
void admin_door_close(struct admin_door *door);

/* ---- who waits for what: admin_peers.c, admin_desk.c ---- */

struct admin;
struct admin_peers;
/* The thread of the connections, and the desk. On failure a negative errno, and *out is to be
 * stopped all the same. */
int admin_peers_start(struct admin_peers **out, struct admin *admin, struct node *node,
                      const struct admin_door *doors, unsigned door_count);
void admin_peers_close_desk(struct admin_peers *peers);
void admin_peers_stop(struct admin_peers **peers);

struct admin_desk;
/* `finished` is called from any of its threads when a call has its answer; it must not block. */
int admin_desk_open(struct admin_desk **out, struct node *node, void (*finished)(void *context),
                    void *context);
/*
 * Takes a call, which is the desk's until admin_desk_finished gives it back. False at a bound, and
 * once the desk has closed: then the call has its answer.
 */
bool admin_desk_take(struct admin_desk *desk, struct admin_call *call);
/* The calls that have their answers since the last time, linked by `next`; NULL: none. */
struct admin_call *admin_desk_finished(struct admin_desk *desk);
/* A call that was taken has been answered: its class has room for another. */
void admin_desk_forget(struct admin_desk *desk, unsigned class);
/* Finishes the calls that run, refuses those that wait, joins. May be called twice. */
void admin_desk_close(struct admin_desk *desk);
void admin_desk_destroy(struct admin_desk **desk);

/* ---- whose secret: admin.c, admin_secrets.c ---- */

/* Puts the issuer's id into `shop`, where the secret is somebody's. */
void admin_identify(struct admin *admin, struct http_text secret,
                    char shop[static LEDGER_ISSUER_MAX + 1]);

/* ---- what the log is told: admin_log.c ---- */

/* A change that the ledger took (0 or -EINPROGRESS): one line, never left out. Other results are none.
 * `jti` of the link that it revokes, else NULL. */
void admin_log_change(const struct admin_request *request, const struct ledger_request *asked,
                      const char *jti, int result, bool repeated);
/* Counts and logs a 401 or a 403; any other answer is left alone. */
void admin_log_refusal(struct node *node, const struct admin_call *call);

struct admin_secrets;
struct trust_warner;
/* Reads the issuers' admin_secret_file. 0, or a negative errno with a sentence. `warner` (NULL:
 * nobody) hears which of them others may read. */
int admin_secrets_load(struct admin_secrets **out, const struct config *config,
                       const struct trust_warner *warner, char *error, size_t error_size);
void admin_secrets_destroy(struct admin_secrets **secrets);
/* The issuer's id, NULL where it is nobody's. Takes the same time whoever's it is. */
const char *admin_secrets_find(const struct admin_secrets *secrets, struct http_text secret);

/* Answers a negative errno of the ledger. */
void admin_answer_errno(struct admin_answer *answer, int failure);

#endif
