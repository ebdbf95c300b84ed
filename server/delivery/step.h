/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps by which a connection's requests are answered, in their order. A step is a function: it
 * does what it can without waiting, notes in the exchange what it has found, and returns. It calls
 * no other step, and it neither refuses, cuts nor closes: it says by its outcome what is to happen,
 * and driver.c alone does it.
 *
 *                accept
 *                  |
 *     .----------> v
 *     |          HEAD       framing.c: the next whole head (waits for bytes)
 *     |            v
 *     |          LINK       request.c: client, method, link (never waits)
 *     |            v
 *     |          FILE       request_file.c: opened, hashed (waits for the disk, the hasher)
 *     |            v
 *     |          BYTES      request_bytes.c: conditions, ranges (never waits)
 *     |            v
 *     |          STANDING   standing.c: of a link whose answer has no bytes (waits for Redis)
 *     |            v
 *     |          ADMIT      admission.c: a grant (waits for its account, for Redis, for funds)
 *     |            v        <--------- a refusal, or another answer without a file
 *     |          ANSWER     answer.c: writes the head, begins the body (never waits)
 *     |            v
 *     |          SEND       transfer.c: the body (waits for room, disk, rate, a grant)
 *     | kept       v
 *     '----------- done
 *                  v
 *                LINGER     linger.c: our side is shut (waits for the last acknowledgement)
 *                  v
 *                CLOSE      operations are cancelled; waits for the last completion, and, unless it
 *                  |        was cut, for what the peer still acknowledges
 *                  v
 *                 free
 *
 * Any state may go to CLOSE.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_STEP_H
#define TOLLGATE_SERVER_DELIVERY_STEP_H

struct connection;
struct worker;

/* X(state, function): the states in which a step is run, in the order in which one leads to the next. */
#define STEPS(X)                                                                                   \
    X(HEAD, step_head)                                                                             \
    X(LINK, step_link)                                                                             \
    X(FILE, step_file)                                                                             \
    X(BYTES, step_bytes)                                                                           \
    X(STANDING, step_standing)                                                                     \
    X(ADMIT, step_admit)                                                                           \
    X(ANSWER, step_answer)                                                                         \
    X(SEND, step_send)                                                                             \
    X(LINGER, step_linger)

enum connection_state {
    STATE_FREE,
#define X(state, function) STATE_##state,
    STEPS(X)
#undef X
        STATE_CLOSE,
    STATE_COUNT
};

/* What a step has come to. */
enum step_outcome {
    STEP_NEXT,   /* the next state's step goes on */
    STEP_WAIT,   /* for what the exchange's `waiting` says; the same step is run again then */
    STEP_ANSWER, /* the exchange says what is to be answered: nothing more is to be found out */
    STEP_REFUSE, /* the answer is the exchange's `refusal` */
    STEP_DONE,   /* the response is over: the next head, or LINGER */
    STEP_CLOSE,  /* the connection ends; what is on its way still arrives and is billed */
    STEP_CUT,    /* it ends now, with a reset; the exchange's `why` is logged, where it says one */
    STEP_OUTCOMES
};

typedef enum step_outcome step_function(struct worker *worker, struct connection *connection);
#define X(state, function) step_function function;
STEPS(X)
#undef X

/* X(name, text): what a connection may wait for. */
#define WAITS(X)                                                                                   \
    X(NONE, "nothing")                                                                             \
    X(HEAD, "the next head of the client")                                                         \
    X(OPEN, "its file to be opened")                                                               \
    X(HASH, "the hash of its file")                                                                \
    X(STANDING, "Redis, whether its link was revoked")                                             \
    X(ACCOUNT, "the journal's records of its account to be counted")                               \
    X(GRANT, "a grant of Redis, or funds")                                                         \
    X(TURN, "its turn to send")                                                                    \
    X(ROOM, "room in its socket")                                                                  \
    X(DISK, "the disk")                                                                            \
    X(RATE, "its rate or pace")                                                                    \
    X(ACKNOWLEDGED, "the client's acknowledgements")                                               \
    X(PEER, "the client to end its side")

enum wait {
#define X(name, text) WAIT_##name,
    WAITS(X)
#undef X
        WAIT_COUNT
};

/* "SEND", "CUT", "room in its socket". */
const char *step_state_name(enum connection_state state);
const char *step_outcome_name(enum step_outcome outcome);
const char *step_wait_text(enum wait wait);

#endif
