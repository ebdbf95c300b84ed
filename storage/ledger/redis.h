/*
 * One blocking connection to Redis with timeouts, and commands over it. Used by the poster and the
 * admin calls, each with its own; workers have their own asynchronous ones elsewhere.
 */
#ifndef TOLLGATE_LEDGER_REDIS_H
#define TOLLGATE_LEDGER_REDIS_H

#include <hiredis/hiredis.h>
#include <signal.h>

#include "storage/ledger/where.h"

#define REDIS_ARGUMENTS_MAX 4096

struct redis_link {
    redisContext *context;                /* owns; NULL: closed */
    sigset_t signals;                     /* of the thread, before */
    uint32_t patience_ms;                 /* with each answer */
    struct where *where;                  /* borrows */
    uint64_t number;                      /* of the address there; 0: none was known */
    const struct ledger_options *options; /* borrows */
    bool unreached;                       /* nothing answered, or the name has no address */
    bool another;    /* it failed, and another address is to be tried at once */
    char error[400]; /* of the last failure: the cause; the cure, where one is known; no secrets */
};

/* What INFO says of the server. */
struct redis_facts {
    char run_id[64], replication_id[64];
    bool noeviction, append_only, loading, replica;
    char policy[32], version[32];
};

/* Connects to the address in force and authenticates; each answer is waited for
 * LEDGER_REDIS_INTRODUCE_MS. SIGPIPE is held off the calling thread until redis_close. 0, or -EAGAIN and
 * redis_failed was called. */
int redis_open(struct redis_link *link, struct where *where, const struct ledger_options *options);
/* The same, at each address in turn until one answers. */
int redis_open_any(struct redis_link *link, struct where *where,
                   const struct ledger_options *options);
/* Reports that the Redis that it is or was open to cannot be used, or, where it was `reached`, is lost. Sets
 * link->another. */
void redis_failed(struct redis_link *link, bool reached);
/* Who it is was asked and answered: from now on LEDGER_REDIS_SILENCE_MS is waited. 0 or -EAGAIN. */
int redis_introduced(struct redis_link *link);
void redis_close(struct redis_link *link);

/* A command under construction: what it points to must live until it is sent. */
struct redis_arguments {
    int count;
    const char *text[REDIS_ARGUMENTS_MAX];
    size_t lengths[REDIS_ARGUMENTS_MAX];
};
void redis_add(struct redis_arguments *arguments, const char *text);
void redis_add_bytes(struct redis_arguments *arguments, const char *text, size_t length);

/* Queues a command; its reply comes by redis_next, in order. 0 or -EAGAIN. */
int redis_send(struct redis_link *link, const struct redis_arguments *arguments);
/* The next reply (the caller frees it), error replies included; NULL where the link is dead. */
redisReply *redis_next(struct redis_link *link);
/* A command of words; NULL for a dead link and for an error reply, whose text is in link->error. */
redisReply *redis_call(struct redis_link *link, int count, const char *const words[]);

int redis_facts(struct redis_link *link, struct redis_facts *out);
/* Loads the function library unless this very text or a newer version is there (then *newer is that
 * version). 0, -EAGAIN. */
int redis_load_functions(struct redis_link *link, int64_t *newer);

#endif
