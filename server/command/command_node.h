/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `node drain` and `node retire` share: asking the node how far it is, saying so while they wait,
 * and the sentence about what is not in Redis yet.
 */
#ifndef TOLLGATE_SERVER_COMMAND_COMMAND_NODE_H
#define TOLLGATE_SERVER_COMMAND_COMMAND_NODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/command/cli.h"

#define NODE_POLL_MS        100
#define NODE_SENTENCE_BYTES 2048

/* Which lanes count: those of these instances, or all of the node's. */
struct node_lanes {
    const char (*instances)[33]; /* borrows; NULL: all */
    unsigned count;
};

/* What was found of the lanes that count. */
struct node_rest {
    unsigned missing;     /* instances that the node has no lane of */
    json_int_t unposted;  /* records, in all */
    json_int_t set_aside; /* accounts */
    bool is_posted;       /* nothing is left of any of them */
    bool only_aside;      /* what is left will not go away by itself: it is set aside */
    char sentence[NODE_SENTENCE_BYTES]; /* "lane-a: 12 records are not posted (why); lane-b: ..." */
};
/* Reads the node's answer. */
void node_rest_read(const json_t *answer, const struct node_lanes *lanes, struct node_rest *out);

/* Calls /v1/node with GET, or where `body` is not NULL with PUT. EX_OK with *answer, which is the caller's
 * and was NULL; else the exit code after printing why. */
int node_call(const char *command, const struct cli_location *location, const json_t *body,
              json_t **answer);

/* A line of progress on standard error, where that is a terminal; erased by the next one, or by "". */
void node_progress(const char *text);
/* Sleeps until the node is to be asked again. */
void node_pause(void);

#endif
