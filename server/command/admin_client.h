/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client side of the admin socket: one request, one bounded answer, then the connection is
 * closed. The commands call it through command_admin.h. It speaks to tollgate's own server only and
 * is not a general HTTP client.
 */
#ifndef TOLLGATE_SERVER_COMMAND_ADMIN_CLIENT_H
#define TOLLGATE_SERVER_COMMAND_ADMIN_CLIENT_H

#include <stddef.h>

struct admin_response {
    unsigned status;
    char *body; /* owns (free); NUL-terminated */
    size_t length;
};

/*
 * `target` is percent-encoded already; `body` is JSON, or NULL for none. Waits ADMIN_CLIENT_WAIT_MS
 * at most. 0, or a negative errno: -ENOENT and -ECONNREFUSED where no node listens, -ETIMEDOUT,
 * -ECONNRESET (cut short), -EMSGSIZE (longer than any answer is), -EPROTO (not HTTP/1.1).
 */
#define ADMIN_CLIENT_WAIT_MS 60000 /* the node settles before it tells usage: some seconds */
int admin_client_call(const char *socket_path, const char *method, const char *target,
                      const char *body, struct admin_response *out);
/* The same with a deadline of `wait_ms` over the whole call, connecting included. */
int admin_client_call_within(unsigned wait_ms, const char *socket_path, const char *method,
                             const char *target, const char *body, struct admin_response *out);

#endif
