/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes that this one saw with leases, and the birth id of the Redis in which it saw them, as
 * they stand in STATE_DIR/nodes. birth.c alone uses it; it asks Redis nothing.
 */
#ifndef TOLLGATE_LEDGER_BIRTH_NODES_H
#define TOLLGATE_LEDGER_BIRTH_NODES_H

#include "storage/ledger/lane.h"
#include "storage/ledger/ledger_names.h"

struct birth_node {
    char instance[LEDGER_HEX_SIZE], directory[LEDGER_HEX_SIZE], name[LEDGER_NODE_MAX + 1];
    uint64_t seen_ms;  /* by Redis' clock */
    uint64_t saved_ms; /* the same, as it stands in the file */
    bool has_said;     /* that it has replayed to the Redis in force */
};

struct birth_nodes {
    uint64_t birth;          /* 0: none */
    struct birth_node *list; /* owns */
    size_t count, room;
};

/* Who this node is, as Redis lists it, too. */
struct birth_self {
    const char *instance, *directory, *name;
};

/* Reads the file. 0, -ENOENT, -EBADMSG, or the error of reading; then nothing is remembered. */
int birth_nodes_load(struct birth_nodes *nodes, int directory);
/* Writes it: the file is there in full or as before. 0 or a negative errno. */
int birth_nodes_save(struct birth_nodes *nodes, int directory);
void birth_nodes_free(struct birth_nodes *nodes);

/*
 * Takes what Redis has of an instance: "name directory birth run seen version". A name belongs to one
 * state directory, so another one that had it before is retired, and forgotten. Where there are
 * LEDGER_NODES_MAX, no further one is remembered. True where the file is to be written.
 */
bool birth_nodes_see(struct birth_nodes *nodes, const struct birth_self *self, const char *instance,
                     const char *entry, uint64_t birth, const char *run);
/* Forgets those without a lease for LEDGER_NODES_KEPT_MS. Likewise. */
bool birth_nodes_forget(struct birth_nodes *nodes, uint64_t now_ms);
/* Whether all have replayed to the Redis in force. */
bool birth_nodes_have_said(const struct birth_nodes *nodes);

#endif
