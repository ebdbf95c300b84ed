/* SPDX-License-Identifier: Apache-2.0 */
/* What the node tells the service manager that started it: the protocol of sd_notify(3). */
#ifndef TOLLGATE_SERVER_NODE_SERVICE_MANAGER_H
#define TOLLGATE_SERVER_NODE_SERVICE_MANAGER_H

/*
 * Sends the state ("READY=1") with the time to NOTIFY_SOCKET, where there is one. Best effort: a
 * manager that has not read what it was told before is waited for a second, and then not told.
 */
void service_manager_tell(const char *state);

#endif
