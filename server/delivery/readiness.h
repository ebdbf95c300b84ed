/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node says of itself to balancers and supervisors: whether it grants, is ready, and lives.
 * The three are apart, because a Redis that is away for seconds must not empty all nodes at once, and
 * a node that waits for Redis must not be restarted. The health answer and worker 0 call it.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_READINESS_H
#define TOLLGATE_SERVER_DELIVERY_READINESS_H

#include <stdbool.h>
#include <stdint.h>

struct node;

#define READINESS_TEXT_SIZE  512
/* The lease was renewed by a question put at most this long ago. */
#define READINESS_RENEWED_MS 3000
/* A node whose clock is further from Redis' is not ready. */
#define READINESS_CLOCK_MS   60000
/* A thread that has not turned for this long hangs. */
#define READINESS_TURN_MS    5000

/* Each text says why not; "" where it is so. */
struct node_readiness {
    /* Redis takes the node's writes, and each worker may ask it. */
    bool granting;
    char granting_text[READINESS_TEXT_SIZE];
    /* Balancers may send clients: it is granting, or was within ready_grace_ms, or goes on without
     * Redis, which would be in vain where balancers turn away from all nodes; and nothing is wrong
     * that time does not heal. Who comes to a node that is not ready is answered all the same. */
    bool ready;
    char ready_text[READINESS_TEXT_SIZE];
    /* For how long it goes on without Redis (redis_down: continue); 0: it does not. And for how much
     * longer it may, or might if Redis were lost now. */
    uint64_t continues_ms, continues_left_ms;
    /* Every thread turns, whatever Redis does. */
    bool alive;
    char alive_text[READINESS_TEXT_SIZE];
};

/* Looks at a node whose phase is NODE_SERVING, and which is not stopping. `now_ms` is monotonic. From
 * any thread; it takes locks for moments. */
void readiness_look(struct node *node, uint64_t now_ms, struct node_readiness *out);
/* Whether it is granting; a few atomic loads. From any thread. */
bool readiness_is_granting(const struct node *node, uint64_t now_ms);
/* Each tick of worker 0: notes that the node is granting, and when it goes on without Redis. */
void readiness_observe(struct node *node, uint64_t now_ms);

#endif
