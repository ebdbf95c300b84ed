/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor examines what a node needs of its host, its configuration and its Redis, and names
 * the cure of each fault. `tollgate doctor` runs all examinations, `tollgate serve` those that are
 * cheap when it starts, `serve --check-config` and a node at SIGHUP those of the configuration.
 * It changes nothing.
 */
#ifndef TOLLGATE_SERVER_DOCTOR_DOCTOR_H
#define TOLLGATE_SERVER_DOCTOR_DOCTOR_H

#include <sysexits.h>

#include "server/config/config.h"

/* Who asks for an examination; a mask. */
enum doctor_asker { DOCTOR_COMMAND = 1, DOCTOR_START = 2, DOCTOR_CONFIG = 4 };

/*
 * X(name, askers, exit code, subject): the exit code is that of a node which meets the failure when
 * it starts; 0: it starts all the same, because the fault can heal while it runs.
 */
#define DOCTOR_EXAMINATIONS(X)                                                                     \
    X(kernel, DOCTOR_COMMAND | DOCTOR_START, EX_UNAVAILABLE, "Linux 6.1 or later")                 \
    X(io_uring, DOCTOR_COMMAND | DOCTOR_START, EX_UNAVAILABLE,                                     \
      "allowed by sysctl, seccomp and security modules")                                           \
    X(memlock, DOCTOR_COMMAND | DOCTOR_START, EX_UNAVAILABLE, "the workers' rings fit")            \
    X(nofile, DOCTOR_COMMAND | DOCTOR_START, EX_UNAVAILABLE, "descriptors for all connections")    \
    X(clock, DOCTOR_COMMAND | DOCTOR_START, EX_UNAVAILABLE, "plausible and synchronised")          \
    X(settings, DOCTOR_COMMAND | DOCTOR_START | DOCTOR_CONFIG, EX_CONFIG,                          \
      "values that agree with each other, and proxies that are not everybody")                     \
    X(media_root, DOCTOR_COMMAND | DOCTOR_START | DOCTOR_CONFIG, EX_CONFIG, "readable")            \
    X(state_dir, DOCTOR_COMMAND | DOCTOR_START | DOCTOR_CONFIG, EX_CONFIG,                         \
      "writable, with room for the journal")                                                       \
    X(journal_archive, DOCTOR_COMMAND | DOCTOR_START | DOCTOR_CONFIG, 0,                           \
      "writable, so that segments can leave the journal; or that there is none")                   \
    X(redis_password_file, DOCTOR_COMMAND | DOCTOR_START | DOCTOR_CONFIG, EX_CONFIG, "readable")   \
    X(access_log, DOCTOR_COMMAND | DOCTOR_CONFIG, EX_CONFIG, "writable, or to be made")            \
    X(addresses, DOCTOR_COMMAND | DOCTOR_CONFIG, EX_CONFIG, "this machine can listen on them")     \
    X(keys, DOCTOR_COMMAND | DOCTOR_CONFIG, EX_CONFIG, "the issuers' key sets")                    \
    X(certificates, DOCTOR_COMMAND | DOCTOR_START | DOCTOR_CONFIG, EX_CONFIG,                      \
      "for TLS, and for how long")                                                                 \
    X(admin_secrets, DOCTOR_COMMAND | DOCTOR_START | DOCTOR_CONFIG, EX_CONFIG,                     \
      "of the shops at admin_listen")                                                              \
    X(redis, DOCTOR_COMMAND, 0,                                                                    \
      "version, eviction, append-only file, its clock; and, as a finding "                         \
      "of its own called node, whether the node's name is free")

enum doctor_verdict { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_FAILURE };

struct doctor_finding {
    const char *name;
    enum doctor_verdict verdict;
    int exit_code;   /* the table's */
    char text[1536]; /* one line: the fact; the cure */
};

/*
 * Runs the examinations that `asker` asks for, in the table's order; without a configuration (NULL)
 * those of the host alone. Calls `report` for each finding of an examination: first for those that
 * are lines of their own, then for the examination's result, unless it only warned. One may
 * block for some seconds.
 */
void doctor_run(const struct config *config, enum doctor_asker asker,
                void (*report)(void *context, const struct doctor_finding *finding), void *context);

#endif
