/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ledger and the grants ask of the world, as three tables of functions: the clocks, the
 * disk and Redis. A running node fills them with the real ones; a test puts its own in their place,
 * and then nothing in a step depends on when it runs. Each table is borrowed and outlives its user.
 *
 * No function here waits, but those of the disk, which wait for the disk alone.
 */
#ifndef TOLLGATE_LEDGER_OUTSIDE_H
#define TOLLGATE_LEDGER_OUTSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redisReply;

struct ledger_clock {
    void *self;
    uint64_t (*monotonic_ms)(void *self); /* begins somewhere; never goes back */
    uint64_t (*real_ms)(void *self);      /* since 1970; it may go back */
};

/* The files of a directory that are numbered; 0: there are none. */
struct ledger_disk_list {
    uint32_t count, first, last;
};

/* The journal's files. Each result is as segment.h says of the function of that name. */
struct ledger_disk {
    void *self;
    int (*create)(void *self, int directory, uint32_t number, uint64_t bytes);
    int (*open)(void *self, int directory, uint32_t number, bool writable, uint64_t *size);
    int (*write)(void *self, int fd, uint64_t offset, const uint8_t *bytes, size_t length);
    int (*read)(void *self, int fd, uint64_t offset, uint8_t *bytes, size_t length);
    int (*sync)(void *self, int fd); /* 0, or a negative errno: what was written may be lost */
    void (*close)(void *self, int fd);
    int (*list)(void *self, int directory, struct ledger_disk_list *out);
    int (*remove)(void *self, int directory, uint32_t number);
};

extern const struct ledger_clock ledger_system_clock;
extern const struct ledger_disk ledger_system_disk;

/* Called once for each command that was sent: with the reply (borrowed; error replies, too), or
 * with NULL where the connection was lost, so that nobody knows whether Redis ran the command. */
typedef void ledger_redis_done(void *context, const struct redisReply *reply);
/* Called before `done`, at most once, where the reply is overdue; `done` still follows. */
typedef void ledger_redis_late(void *context);

/* One connection to Redis, which answers in the order in which it was asked. */
struct ledger_redis {
    void *self;
    /* Begins to connect; NULL where the connection looks after itself. 0 or a negative errno. */
    int (*open)(void *self);
    /* Ends the connection, and calls `done` of what is under way with NULL. NULL as above. */
    void (*close)(void *self);
    /* Whether commands may be sent. */
    bool (*is_ready)(const void *self);
    /* Queues a command of `count` words, which are copied. Either callback may be NULL. 0, or
     * -ENOTCONN with neither called. */
    int (*send)(void *self, int count, const char *const words[], const size_t lengths[],
                ledger_redis_done *done, ledger_redis_late *late, void *context);

    /* The functions below are NULL where the connection looks after itself. */

    /* Why there is no connection: the cause, the cure if known, no secret. NULL while it is being
     * made, and while it stands. */
    const char *(*error)(const void *self);
    /* Gives `heard` what Redis publishes, which answers no command, until the connection ends. */
    void (*hear)(void *self, ledger_redis_done *heard, void *context);
    /* From now on an answer may take LEDGER_REDIS_SILENCE_MS; before, LEDGER_REDIS_INTRODUCE_MS. */
    void (*introduced)(void *self);
};

/* Where a process holds its lock: that very lock in the same boot of a machine is held by one process
 * at a time. A copy of it has another inode, or is on another device or machine. */
struct ledger_place {
    char boot[40]; /* a UUID */
    uint64_t device, inode;
};

/* All that a ledger is given at its opening. */
struct ledger_outside {
    const struct ledger_clock *clock;
    const struct ledger_disk *disk;
    const struct ledger_redis *poster, *push; /* NULL: sockets to the address in the options */
    const struct ledger_place *place;         /* NULL: the lock's own */
};

#endif
