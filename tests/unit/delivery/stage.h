/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of steps and of the driver share: one worker of a node, on which nothing happens
 * but what the test says. There is no socket, no Redis and no thread of the ledger or the worker:
 *
 * - A connection's stream is a table of answers: what it takes, what it refuses, what its peer has
 *   acknowledged (struct stage_peer).
 * - The kernel is played by the test: an operation that a connection puts on the worker's ring is
 *   taken back from it before it is submitted, and completes as the test says (stage_complete).
 *   stage_submit gives them to the real kernel, where a test wants to see that they are well-formed.
 * - Redis keeps what it was asked, and answers when the test says so.
 * - Media, ledger and keys are real: /music/a.mp3 has STAGE_LONG bytes, /music/s.mp3 STAGE_SHORT.
 *
 * The functions assert that their own steps succeed, so that a test holds only its subject.
 */
#ifndef TOLLGATE_TESTS_STAGE_H
#define TOLLGATE_TESTS_STAGE_H

#include <criterion/criterion.h>
#include <errno.h>

#include "server/delivery/connection.h"
#include "server/delivery/delivery.h"
#include "server/delivery/driver.h"
#include "server/delivery/events.h"

#define STAGE_LONG      40000 /* longer than what travels with a head */
#define STAGE_CHUNK     16384 /* bytes of a file that the stream takes at once */
#define STAGE_SHORT     100
#define STAGE_PLACES    24 /* connections_max */
#define STAGE_ANSWERS   16
#define STAGE_TEXT      8192
#define STAGE_NOW_MS    1000
#define STAGE_NOW_S     1800000000
#define STAGE_TAKES_ALL INT32_MAX

/* The peer of a connection, and what its stream does. */
struct stage_peer {
    /* What the next calls of send and send_file return: bytes (at most those given), or a negative
     * errno. After the last one the stream takes all that it is given. */
    ssize_t answers[STAGE_ANSWERS];
    unsigned answer_count, answered;
    unsigned cold;         /* so many calls of send_file find that the disk must be waited for */
    int flush;             /* what flush returns */
    char text[STAGE_TEXT]; /* what was sent from memory */
    size_t text_length;
    uint64_t from, body;   /* of the file: offset of the first byte, how many bytes */
    unsigned calls;        /* of send and send_file */
    bool acknowledges_all; /* at once; else `acknowledged` bytes of the stream */
    uint64_t acknowledged;
    bool is_dead;          /* nothing more will be acknowledged */
    int measure;           /* what measure returns */
    unsigned ended;        /* calls of `end` */
    enum stream_word word; /* what read says, but for bytes */
};

/* An operation of a connection that the kernel has. */
struct stage_operation {
    enum operation operation;
    uint32_t index, generation;
    uint8_t opcode;
    int fd;
    bool is_cancelled;
};

struct stage {
    struct config *config;
    struct node node;
    struct worker *worker;
    step_function *steps[STATE_COUNT]; /* the worker's; a test puts others in their place */
    struct stage_peer peers[STAGE_PLACES];
    struct stage_operation pending[8 * STAGE_PLACES];
    unsigned pending_count;
    bool is_real;    /* the ring was given to the real kernel */
    unsigned tokens; /* made so far: each has a link of its own */
};
extern struct stage stage;

/* ---- begin and end ---- */

void stage_begin(void);
/* Cuts what is left, and asserts that all was given back. */
void stage_end(void);
/* Moves the time on. */
void stage_pass(uint64_t ms);
/* Puts a file beneath the media root. */
void stage_put(const char *path, size_t size);
const char *stage_path(const char *path); /* where it lies; until the fourth call from now */

/* The file has its hash from now on; or the hasher comes to no file as long as the test runs. */
void stage_hash(const char *path);
void stage_occupy_hasher(void);
/* The key that signs the tests' links is removed from the key set in force, or is there again. */
void stage_remove_keys(void);
void stage_restore_keys(void);

/* ---- connections ---- */

/* A connection in HEAD, of which no step was run. */
struct connection *stage_connect(void);
struct stage_peer *stage_peer(const struct connection *connection);
/* The stream's next answers. */
void stage_answers(const struct connection *connection, unsigned count, const ssize_t answers[]);
#define STAGE_ANSWER(connection, ...)                                                              \
    stage_answers((connection), sizeof((const ssize_t[]){__VA_ARGS__}) / sizeof(ssize_t),          \
                  (const ssize_t[]){__VA_ARGS__})
/* From this state on steps wait, so that the driver comes no further. */
void stage_stop_at(enum connection_state state);
/* Runs the step of the connection's state, alone. */
enum step_outcome stage_step(struct connection *connection);
/* Runs one state's step, whichever state the connection is in. */
enum step_outcome stage_step_of(struct connection *connection, enum connection_state state);

/* These bytes are what HEAD may read; they outlive the exchange. */
void stage_feed(struct connection *connection, const char *text);
/* Has the connection's steps HEAD, and all before `state`, run on the head, which must go on. Returns
 * what the state's step comes to. The driver does not take part. */
enum step_outcome stage_run_to(struct connection *connection, enum connection_state state,
                               const char *head);
/* A request's head, with a link of its own to the path. NULL: no further claims, or fields (each
 * with its CRLF). It lasts until the test ends. */
const char *stage_head(const char *method, const char *path, const char *claims,
                       const char *fields);
/* Has the driver take the head, as far as the state, whose step it does not run. Redis grants. */
void stage_reach(struct connection *connection, enum connection_state state, const char *head);
/* The same with a GET of the path on a new connection. */
struct connection *stage_get(enum connection_state state, const char *path);

/* ---- the kernel ---- */

/* Takes the ring's new operations; how many of the connection the kernel has then. */
unsigned stage_pending(const struct connection *connection);
/* Whether the kernel has such an operation of the connection. */
bool stage_has(const struct connection *connection, enum operation operation);
/* The operation completes for good. */
void stage_complete(struct connection *connection, enum operation operation, int result);
/* The connection's receive brings these bytes, and goes on. */
void stage_receive(struct connection *connection, const char *data, size_t length);
/* The operation that was taken as the `number`th completes; used where any may. */
void stage_complete_number(unsigned number, int result);
/* Gives the ring's new operations to the real kernel, and waits for one completion of a
 * connection, which goes where the worker's loop would bring it. */
void stage_submit(void);
/* All operations of connections that are closing end. */
void stage_finish(void);

/* ---- Redis ---- */

/* How many questions wait for their answer. */
unsigned stage_asked(void);
/* Redis answers the oldest question: it grants, and the account has that many bytes. */
void stage_grant(uint64_t bytes);
/* The same, as of a revision of the account that may be older than what was heard. */
void stage_grant_as_of(uint64_t revision);
/* It answers so in place of a grant. */
void stage_deny(enum ledger_admission admission);
void stage_be_late(void);
/* The connection to Redis is lost, and with it the answers; or it is there again. */
void stage_redis(bool is_up);
/* A revocation in the account of the tests' links is heard. */
void stage_hear(uint64_t revision);

/* The ledger writes down what was delivered; it has no thread that would. */
void stage_write_journal(void);

/* ---- what holds whenever the driver has returned ---- */

/* The lists, the counts and the references of all connections agree. */
void stage_check(void);

#endif
