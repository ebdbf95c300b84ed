/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reasons for which the admin interface itself does not do a call, in one table, which makes
 * the enum, the problem's `reason`, its status and its Retry-After. Used by the admin_*.c files.
 * openapi.json lists the reasons of this table and of server/http/refusal.h, and a test compares them.
 */
#ifndef TOLLGATE_SERVER_ADMIN_ADMIN_REASON_H
#define TOLLGATE_SERVER_ADMIN_ADMIN_REASON_H

/* name, status, Retry-After in seconds (0: none) */
#define ADMIN_REASONS(X)                                                                           \
    X(ACCOUNT_BUSY, 503, 1)                                                                        \
    X(ACCOUNT_DAMAGED, 409, 0)                                                                     \
    X(ACCOUNT_INVALID, 422, 0)                                                                     \
    X(ACCOUNT_OPEN, 409, 0)                                                                        \
    X(ACCOUNT_UNKNOWN, 404, 0)                                                                     \
    X(ACCOUNTS_FULL, 507, 0)                                                                       \
    X(BALANCE_NEGATIVE, 409, 0)                                                                    \
    X(BODY_INVALID, 400, 0)                                                                        \
    X(BODY_TOO_LARGE, 413, 0)                                                                      \
    X(CALLS_TOO_MANY, 503, 1)                                                                      \
    X(CURSOR_INVALID, 422, 0)                                                                      \
    X(CURSOR_OUTDATED, 409, 0)                                                                     \
    X(DAYS_INVALID, 422, 0)                                                                        \
    X(INSTANT_AHEAD, 422, 0)                                                                       \
    X(ISSUER_ACCOUNTS_FULL, 507, 0)                                                                \
    X(ISSUER_FORBIDDEN, 403, 0)                                                                    \
    X(ISSUER_MISSING, 422, 0)                                                                      \
    X(ISSUER_UNKNOWN, 404, 0)                                                                      \
    X(JOURNAL_FAILED, 503, 10)                                                                     \
    X(JOURNAL_FULL, 503, 10)                                                                       \
    X(LENGTH_REQUIRED, 411, 0)                                                                     \
    X(LIMIT_INVALID, 422, 0)                                                                       \
    X(MEMBERS_INVALID, 422, 0)                                                                     \
    X(METHOD_NOT_ALLOWED, 405, 0)                                                                  \
    X(NO_MEMORY, 503, 1)                                                                           \
    X(NODE_BUSY, 503, 1)                                                                           \
    X(NODE_STARTING, 503, 1)                                                                       \
    X(NODE_STOPPING, 503, 1)                                                                       \
    X(OPERATION_OVERTAKEN, 409, 0)                                                                 \
    X(OPERATORS_ONLY, 403, 0)                                                                      \
    X(OUT_OF_BOUNDS, 422, 0)                                                                       \
    X(PARAMETERS_INVALID, 422, 0)                                                                  \
    X(PLAN_INVALID, 422, 0)                                                                        \
    X(REDIS_UNAVAILABLE, 503, 1)                                                                   \
    X(REQUEST_TIMEOUT, 408, 0)                                                                     \
    X(ROUTE_UNKNOWN, 404, 0)                                                                       \
    X(ROWS_TOO_MANY, 422, 0)                                                                       \
    X(SECRET_UNKNOWN, 401, 0)                                                                      \
    X(TOTAL_TOO_LARGE, 422, 0)                                                                     \
    X(TRANSACTION_REUSED, 409, 0)                                                                  \
    X(UNEXPECTED, 500, 0)                                                                          \
    X(URL_INVALID, 422, 0)                                                                         \
    X(USAGE_ENDED, 410, 0)

enum admin_reason {
#define X(name, status, retry_after_s) ADMIN_##name,
    ADMIN_REASONS(X)
#undef X
        ADMIN_REASON_COUNT
};

/* Each takes a reason below ADMIN_REASON_COUNT; the name, such as "account_open", is a constant. */
const char *admin_reason_name(enum admin_reason reason);
unsigned admin_reason_status(enum admin_reason reason);
unsigned admin_reason_retry_after_s(enum admin_reason reason);

#endif
