/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated world for the ledger: nodes with their workers, clients and shops around one Redis,
 * in one thread and in simulated time. The nodes run the real code of storage/ledger/ and
 * server/grant/, through step functions and tables of functions; the Redis runs the real function
 * library. A seed decides all that happens, so a run may be repeated exactly.
 *
 *   run.c     one run: makes the world, takes moments, lets it come to rest
 *   tables.h  the faults and the promises
 *   plan.c    what the seed has in store: requests, shops' operations, faults
 *   node.c    a process of a node: opened, stepped, killed; its workers are in worker.c, their
 *             responses in response.c
 *   connection.c  a connection to Redis; redis.c  the Redis, with store.c
 *   disk.c    a journal's disk
 *   shop.c    money and revocations; attempt.c brings them through a node
 *   faults.c  what goes wrong
 *   leaving.c what leaves the journals
 *   promises.c  what must hold at any time, but for what may go unpaid (excuses.c); duties.c  what a
 *             node must not do; rest.c  what must hold at rest
 *   story.c   what is told of a run
 *   campaign.c  many seeds, and one seed made small; main.c  the command line
 */
#ifndef TOLLGATE_SIMULATION_SIM_H
#define TOLLGATE_SIMULATION_SIM_H

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "server/grant/decision.h"
#include "server/grant/grants.h"
#include "server/grant/question.h"
#include "storage/ledger/ledger_internal.h"
#include "tests/simulation/connection.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/fills.h"
#include "tests/simulation/random.h"
#include "tests/simulation/redis.h"
#include "tests/simulation/schedule.h"
#include "tests/simulation/tables.h"
#include "tests/simulation/watermarks.h"

#define SIM_MS                 UINT64_C(1000) /* in microseconds */
#define SIM_SECOND             (1000 * SIM_MS)
#define SIM_EPOCH_MS           UINT64_C(1764000000000) /* the real time when a run begins: within a day */
#define SIM_NODES              3
#define SIM_COPIES             1 /* more places for nodes, for copies of directories */
#define SIM_WORKERS            2 /* of each node */
#define SIM_ACCOUNTS           4
#define SIM_LINKS              12
#define SIM_FILES              3
#define SIM_RESPONSES          64 /* of all nodes */
#define SIM_ISSUER             "shop"

/* A node's connections: the poster's, push's, the shop's orders', and one of each worker. */
#define SIM_CONNECTIONS        (3 + SIM_WORKERS)

/* By the configuration's keys, but shorter, so that a minute sees many of each. */
#define SIM_VALIDITY_MS        4000
#define SIM_SLICE_BYTES        (64u * 1024)
#define SIM_PERIOD_MS          20000 /* use_window_s */
#define SIM_LEASE_MS           3000
#define SIM_LOST_MS            15000 /* data_lost_wait_ms */
#define SIM_MARK_MS            400
#define SIM_CHECKPOINT_RECORDS 100 /* fewer than a segment has */
#define SIM_FILL_ROWS          1   /* of a part of a checkpoint */
#define SIM_POST_MS            1000
#define SIM_TURN_MS            150  /* a writer that comes late */
#define SIM_TIMEOUT_MS         2000 /* admission_timeout_ms */
#define SIM_DOWNLOADS          12
#define SIM_TICK_MS            100
#define SIM_DURATION_S         60

struct sim;
struct sim_node;

/* ---- what clients fetch ---- */

struct sim_file {
    char path[256]; /* that of the last file has two parts in the journal */
    uint64_t size;
};

/* The last question whose funds were excused, as they were void. */
struct sim_excused {
    uint64_t lease, count;
};

struct sim_link {
    unsigned account, file;
    unsigned char link_id[LEDGER_LINK_ID_BYTES];
    uint32_t max_uses;
    uint64_t max_bytes;
    uint64_t delivered; /* bytes that its clients have received */
    uint64_t excused;   /* as of an account */
    struct sim_excused voided[SIM_NODES];
    char key[40 + 2 * LEDGER_LINK_ID_BYTES]; /* in Redis; it ends with the id in hex */
    uint64_t revoked_us; /* since when the Redis in force knows it; 0: it does not */
    uint64_t confirmed_us[SIM_NODES + SIM_COPIES]; /* when a node asked, and was granted, last */
};

#define SIM_RING LEDGER_COUNT(LEDGER_TRANSACTION_KEYS)
struct sim_account {
    char name[16], key[48], grants_key[48]; /* in Redis */
    char ring_keys[SIM_RING][48];           /* of its transactions */
    bool is_prepaid, is_opened;             /* is_opened: the shop was told so */
    int64_t money_most; /* all that a shop ever sent, whether or not it arrived */
    uint64_t delivered; /* bytes that clients have received */
    /* Of them, those that the promises let go unpaid: lost with a process, or with a Redis. */
    uint64_t excused;
    /* Bytes that Redis had billed, and money that it had taken away, before it came back as it was earlier. */
    uint64_t gone_back;
    struct sim_excused voided[SIM_NODES];
    uint64_t confirmed_us[SIM_NODES + SIM_COPIES]; /* as of a link */
    uint64_t suspended_us;            /* since when the Redis in force knows it; 0: it does not */
    enum ledger_status wanted_status; /* as the shop was last told */
    int64_t wanted_rate;              /* likewise */
    uint64_t set_us;                  /* when */
    /* Set while Redis lacked what had left a journal: once that is back, the one there may have the higher number. */
    bool is_set_beside;
};

/* ---- a worker and its responses ---- */

enum sim_response_state { RESPONSE_FREE, RESPONSE_ADMITTING, RESPONSE_SENDING };

struct sim_response {
    struct sim *sim;
    struct sim_worker *worker;
    struct sim_link *link;
    enum sim_response_state state;
    bool is_parked;
    uint32_t index, generation;
    uint64_t question, round;
    struct patience patience;
    struct window *window; /* holds */
    struct claim claim;
    uint64_t left, handed;  /* bytes */
    struct window_use *use; /* holds; NULL: it has not begun */
    uint64_t promised;      /* bytes that the use still expects */
    uint64_t parked_us;     /* since when */
    uint64_t progress_us;   /* when the client read last */
    /* The client. */
    uint64_t speed;    /* bytes per tick */
    uint64_t reads_us; /* it reads nothing before */
    uint64_t received; /* bytes that its kernel acknowledged */
    uint64_t metered;  /* of them, those that the worker has seen */
    uint64_t ends_us;  /* when it resets the connection; 0: it does not */
    struct timer tick;
};

/* How far a worker's connection is; as in server/delivery/redis_connection_internal.h. */
enum sim_introduction {
    INTRODUCTION_NONE,
    INTRODUCTION_ASKED, /* who this Redis is */
    INTRODUCTION_KNOWN, /* and it waits until the ledger has replayed to it */
    INTRODUCTION_TRYING,
    INTRODUCTION_READY,
};

struct sim_worker {
    struct sim_node *node;
    unsigned number;
    struct grants grants;
    struct ledger_clock clock;
    struct ledger_redis redis; /* what its grants are given */
    struct sim_connection connection;
    enum sim_introduction introduction;
    bool is_refused; /* the connection is given up outside of its callbacks */
    bool is_trying;
    char run_id[64];
    uint64_t belongs_to, retry_us;
    struct timer tick, look; /* look: parked responses are decided again */
    bool look_again;         /* transfers, too: something was pushed */
};

/* ---- a node ---- */

/* What one process of a node did, by account: bytes that it metered, and of them those that its
 * journal keeps for certain, and those that it may keep. */
struct sim_metered {
    uint64_t all, least, most;
};

struct sim_node {
    struct sim *sim;
    unsigned number;
    char name[16], directory[96], archive[128];
    bool exists, is_up, is_ending; /* is_ending: it stops in good order */
    bool is_retired;               /* it is not started again */
    bool has_lost_segment;
    bool is_kept_out;             /* it lost data, so it need not serve again, nor post all */
    struct sim_node *original;    /* of a copy */
    bool loses_power;             /* with its next end */
    uint64_t vouched_for;         /* of a copy that got the lease: the records that it found */
    bool is_older;                /* Redis had more of its journal than this process found */
    uint64_t posts_us;            /* when its last post was looked at */
    uint64_t found[SIM_ACCOUNTS]; /* records of each account, by this process at its start */
    uint64_t found_entries;       /* of all accounts */
    uint64_t lease;               /* of which its writer was told */
    char id[LEDGER_HEX_SIZE];     /* of its state directory */
    struct ledger_place place;    /* of its state directory's lock */
    int64_t clock_ms;             /* its clock is ahead by so much */
    struct disk disk;
    uint64_t resynced_us;        /* when it last began to ask Redis what that has */
    uint64_t left[SIM_ACCOUNTS]; /* the last record of each account that has left its journal */
    bool told_aside
        [SIM_ACCOUNTS];  /* by this process: they are set aside since they lack such records */
    bool is_leaving;     /* it takes a step of retention */
    bool spoils_archive; /* what it writes to the archive next is damaged there */
    struct ledger_clock clock;
    struct ledger_outside outside;
    struct ledger *ledger;
    struct windows *windows;
    struct sim_connection poster, push, admin;
    struct sim_worker workers[SIM_WORKERS];
    struct timer write, post, hear, check, leave;
    uint64_t checkpoints, first_segment, asleep; /* made; of its journal; accounts let go */
    uint64_t marks_by_ms;                     /* by then it marks what waits now; see watch_marks */
    struct sim_metered metered[SIM_ACCOUNTS]; /* of this process */
    struct sim_metered before[SIM_ACCOUNTS];  /* of those before it */
    bool has_failed;                          /* the journal of this process */
    uint64_t posted[SIM_ACCOUNTS];            /* bytes that Redis took from it */
    uint64_t reserves[SIM_ACCOUNTS];          /* the start in which it last was granted funds */
    uint64_t starts, started_us;              /* how often it was started, and when last */
    uint64_t lease_first, lease_of; /* the first number of a lease that it had in this start */
};

/* ---- the plan ---- */

enum sim_act_kind { ACT_REQUEST, ACT_SHOP, ACT_FAULT };

struct sim_act {
    uint64_t at_us;
    enum sim_act_kind kind;
    enum sim_fault fault;
    uint64_t seed;    /* decides its particulars */
    bool is_left_out; /* by the shrinker */
};

struct sim_plan {
    struct sim_act *acts; /* owns; by time */
    size_t count;
};

struct sim_tally {
    uint64_t struck[SIM_FAULTS_COUNT], looked[SIM_PROMISES_COUNT];
    uint64_t requests, begun, completed, operations, moments, simulated_us;
};

/* ---- the world ---- */

struct sim {
    uint64_t seed;
    struct schedule schedule;
    struct sim_plan plan;
    bool has_funds;      /* accounts with a bound; see plan.c for what that leaves out */
    bool may_lose_redis; /* Redis loses data in this seed, or else a journal does: never both */
    bool
        keeps_some; /* it never loses all, where it loses data: it comes back with an older state */
    bool lets_go, has_archive; /* segments leave the journals; for an archive */
    bool reads_archives; /* at the end: what has left is read there, and nothing leaves any more */
    bool sends_twice;    /* each order that moves money goes to two nodes */
    bool has_lost_data;  /* Redis */
    bool is_emptied;     /* it lost them while it ran, which no node sees at once */
    bool is_resting;     /* nothing goes wrong any more */
    uint64_t late_granted_us; /* when an ended process was granted something last */
    uint32_t quiet_ms;        /* accounts leave memory after so long; 0: never */
    struct sim_redis redis;
    struct sim_fills fills;
    struct sim_node nodes[SIM_NODES + SIM_COPIES];
    struct sim_account accounts[SIM_ACCOUNTS];
    struct sim_link links[SIM_LINKS];
    struct sim_file files[SIM_FILES];
    struct sim_response responses[SIM_RESPONSES];
    struct shop *shop;       /* owns */
    struct watch *watch;     /* owns: of promises.c */
    struct sim_tally *tally; /* borrows */
    FILE *story;             /* borrows; NULL: nothing is told */
    bool is_broken;
    enum sim_promise broken;
    char why[400];
};

static inline uint64_t sim_now_ms(const struct sim *sim)
{
    return sim->schedule.now_us / SIM_MS;
}

/* run.c: runs the plan, and lets the world come to rest. */
void sim_create(struct sim **out, uint64_t seed, const char *directory, struct sim_tally *tally,
                FILE *story);
void sim_run(struct sim *sim);
void sim_destroy(struct sim **sim);
/* Of all that is seen from outside, for comparing two runs. */
uint64_t sim_digest(struct sim *sim);
/* Notes a broken promise, once; the run ends. */
void sim_break(struct sim *sim, enum sim_promise promise, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* story.c: tells a line of the story: time, who, what; ids and real times are made short. */
void sim_tell(struct sim *sim, const char *who, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void story_begin(const struct sim *sim);
/* Gives an id of hexadecimal digits its name in the story, where it has none yet. */
void story_name(const struct sim *sim, const char *id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const char *sim_fault_name(enum sim_fault fault);
const char *sim_promise_name(enum sim_promise promise);

/* process.c: what getrandom gives from now on. */
void sim_entropy_seed(uint64_t seed);

/* plan.c */
void plan_make(struct sim *sim);
void plan_free(struct sim *sim);

/* node.c */
void node_init(struct sim *sim, unsigned number, const char *directory);
void node_start(struct sim_node *node);
/* Makes `to` a node with a copy of the state directory of `from`. */
void node_copy(struct sim_node *to, struct sim_node *from, const char *name);
/* Ends the process at once; nothing more of it reaches the disk or Redis. */
void node_kill(struct sim_node *node, const char *why);
/* Ends it in good order, as far as the node can. */
void node_stop(struct sim_node *node);
/* Starts it again after so long. */
void node_start_later(struct sim_node *node, uint64_t delay_us);
/* The operator of a node whose journal has failed replaces its disk, and starts it again. */
void node_replace_disk(struct sim_node *node);
void node_free(struct sim_node *node);
void node_write_now(struct sim_node *node);
/* One of its SIM_CONNECTIONS, those of the workers last. */
struct sim_connection *node_connection(struct sim_node *node, unsigned number);
static inline uint64_t node_monotonic_ms(const struct sim_node *node)
{
    return sim_now_ms(node->sim) + 1000;
}

/* worker.c, response.c */
void worker_init(struct sim_node *node, unsigned number);
void worker_start(struct sim_worker *worker);
void worker_stop(struct sim_worker *worker);
void worker_look(struct sim_worker *worker, bool again);
void response_request(struct sim *sim, struct random *random);
/* Decides a parked response again, or looks at a transfer that may have to ask. */
void response_retry(struct sim_response *response);
void response_look_again(struct sim_response *response);
/* Ends it; what its client has not acknowledged is not billed. */
void response_end(struct sim_response *response, const char *why);
/* Ends it with its process: nothing is settled. */
void response_vanish(struct sim_response *response);
void response_answered(void *self, const struct grants_asker *asker,
                       const struct grants_answer *answer);

/* faults.c */
void fault_between_parts(struct sim_node *node, uint64_t seed);
void fault_strike(struct sim *sim, enum sim_fault fault, struct random *random);
/* Ends all that is wrong. */
void fault_heal(struct sim *sim);

/* shop.c */
void shop_create(struct sim *sim);
void shop_destroy(struct sim *sim);
void shop_operate(struct sim *sim, struct random *random);
/* So many small operations at one node, one soon after the other. */
void shop_batch(struct sim_node *node, unsigned count);
bool shop_is_idle(struct sim *sim);
/* True for the first call with the transaction: more than one node may post it. */
bool shop_counts_once(struct sim *sim, const char *transaction);
/* What Redis does not know any more of the money that operations of the account took away. */
uint64_t shop_given_back(struct sim *sim, unsigned account);
/* Checks at rest what shops were told. */
void shop_check(struct sim *sim);

/* promises.c; at rest: rest.c */
/* Which account a key is of; SIM_ACCOUNTS: none. */
unsigned watch_account_of(const struct sim *sim, const char *key);
/* Redis has carried out a command. */
void watch_executed(struct sim *sim, const struct message *message, const redisReply *reply);
void watch_received(struct sim_response *response, uint64_t bytes);
void watch_begun(struct sim_response *response);
void watch_sent(struct sim_response *response);
/* Notes until when a download waits that begins to wait now: longer while the journal is full. */
void watch_marks(struct sim_node *node);
void watch_written(struct sim_node *node);
void watch_looked(struct sim *sim, enum sim_promise promise);
/* Redis lost data: what may be overspent and what watermarks may fall. */
void watch_lost_data(struct sim *sim);
void watch_tick(struct sim *sim);

/* excuses.c */
void watch_ended(struct sim_node *node); /* a process */
void watch_lost_segment(struct sim_node *node);
/* What nodes have metered of an account and will never bill: those whose journals have failed, and a copy
 * that has gone for good, and its journal with it. */
uint64_t watch_lost_bytes(const struct sim *sim, unsigned account);
/* Redis lost data of the account. */
void watch_lost_of_copy(struct sim *sim, unsigned account);
/* Excuses what pools held that are void now; those of the instance `taken` (NULL: none) are, too. */
void watch_voids(struct sim *sim, const char *taken);
/* Redis gets a command: excuses what a pool held of which it is told by another process that lives, a copy or
 * its original. */
void watch_replaced(struct sim *sim, const struct message *message);
/* A process has got the lease: as a copy, or beside one, it takes the place of another that may live. */
void watch_leased(struct sim_node *node);
/* Accounts of which Redis lacks what has left a journal: what it had billed of them may be granted once more. */
void watch_lacking(struct sim *sim);

/* rest.c */
bool watch_is_at_rest(struct sim *sim);
void watch_rest(struct sim *sim);
/* Tells what Redis holds. */
void watch_tell(struct sim *sim);

/* A pool as Redis keeps it (functions/funds.lua). */
struct sim_pool {
    uint64_t posted, lease, count, ceiling, least, expires_ms;
};
bool sim_pool_of(struct sim *sim, const char *key, const char *field, const char *value,
                 struct sim_pool *pool);

/* duties.c */
void watch_started(struct sim_node *node); /* a process */
void watch_opened(struct sim_node *node);  /* what it has begun with */
void watch_checkpoint(struct sim_node *node), watch_left(struct sim_node *node);
void watch_posts(struct sim_node *node);
void watch_lease(struct sim_node *node);
/* Redis lost data of the account, and what nodes had reserved there with it. */
void watch_lost_reservations(struct sim *sim, unsigned account);
/* Redis gets a command. */
void watch_admitted(struct sim *sim, const struct message *message);
/* It has granted what a message asked, whose arguments begin at `arguments`: instance and lease
 * first. */
void watch_granted(struct sim *sim, unsigned account, const struct message *message,
                   const char *const arguments[], const redisReply *reply);
void watch_handed(const struct sim_response *response);
void watch_kept(struct sim_node *node);
void watch_older(struct sim_node *node);
/* Whether a node with nothing to do serves, and has kept nothing. */
bool watch_serves(const struct sim_node *node);

#endif
