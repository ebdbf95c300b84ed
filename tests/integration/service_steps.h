/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager's part in a test: the sockets that it passes, and the notices that it reads. */
#ifndef TOLLGATE_TESTS_INTEGRATION_SERVICE_STEPS_H
#define TOLLGATE_TESTS_INTEGRATION_SERVICE_STEPS_H

#include "tests/integration/harness.h"

/* Makes `tollgate serve`, and no other process, get `fd` as its descriptor 3. */
void pass_descriptor(struct site *site, int fd);
/* A listening socket on a port that the kernel picks. */
int listen_anywhere(bool blocking);
/* Makes the socket of the notices and sets NOTIFY_SOCKET for what is started from now on. */
int open_notify_socket(struct site *site);
/* Expects that the next notice begins with `start`. */
void expect_notice(int fd, const char *start);

#endif
