/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of revocation share: slow transfers that are begun, cut or go on, and requests to
 * the admin interface that must succeed.
 */
#ifndef TOLLGATE_TESTS_INTEGRATION_TRANSFER_STEPS_H
#define TOLLGATE_TESTS_INTEGRATION_TRANSFER_STEPS_H

#include "tests/integration/harness.h"

/* Limits of a link in bytes per second, by which TRACK_LONG takes most of a minute. */
#define SLOW                                                                                       \
    {                                                                                              \
        .rate = 100000                                                                             \
    }

/* Begins a transfer and reads a part of its body. Returns the connection. */
int begin_transfer(struct site *site, const char *link);
/* Reads until the node resets the connection. A transfer that comes to its end fails the test. */
void expect_cut(int fd);
/* Reads for so many milliseconds, and on until so many bytes have come. Fails the test if the
 * transfer ends, or if they do not come. */
void expect_flow(int fd, uint64_t milliseconds, uint64_t bytes);
/* Lets so much time pass as the behaviour under test is defined by. */
void pause_ms(uint64_t milliseconds);

/* Posts to the admin interface and expects the status. */
void admin_expect(struct site *site, const char *path, const char *body, unsigned status);
/* Waits until a link that was delivered is refused so. A node hears of what it was told itself by its
 * push connection, which may be a moment after its answer. */
void await_no_delivery(struct site *site, const char *link, unsigned status, const char *reason);
/* Revokes a link of shop/alice by its jti. */
void revoke_jti(struct site *site, const char *jti);
void revoke_url(struct site *site, const char *link);

#endif
