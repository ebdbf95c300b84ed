/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the accounts that are compared, and the lanes whose journals are. See reconcile_internal.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "storage/ledger/reconcile_internal.h"

#define SLOTS_LEAST 1024

int ledger_reconcile_create(struct ledger_reconcile **out)
{
    *out = calloc(1, sizeof(**out));
    if (*out == NULL)
        return -ENOMEM;
    (*out)->slots_count = SLOTS_LEAST;
    (*out)->slots = calloc(SLOTS_LEAST, sizeof(struct reconcile_account *));
    if ((*out)->slots == NULL) {
        free(*out);
        *out = NULL;
        return -ENOMEM;
    }
    return 0;
}

void ledger_reconcile_destroy(struct ledger_reconcile **destroyed)
{
    struct ledger_reconcile *reconcile = *destroyed;
    *destroyed = NULL;
    if (reconcile == NULL)
        return;
    for (size_t i = 0; i < reconcile->slots_count; i++)
        free(reconcile->slots[i]);
    for (size_t i = 0; i < reconcile->lanes_count; i++)
        free(reconcile->lanes[i].state_dir);
    free(reconcile->slots);
    free(reconcile->lanes);
    free(reconcile->foreign);
    free(reconcile);
}

static struct reconcile_account **slot_of(struct reconcile_account **slots, size_t count,
                                          const char *tag, size_t length)
{
    size_t at = (size_t)XXH3_64bits(tag, length) & (count - 1);
    while (slots[at] != NULL &&
           (strlen(slots[at]->tag) != length || memcmp(slots[at]->tag, tag, length) != 0))
        at = (at + 1) & (count - 1);
    return &slots[at];
}

static int grow(struct ledger_reconcile *reconcile)
{
    size_t count = reconcile->slots_count * 2;
    struct reconcile_account **slots = calloc(count, sizeof(struct reconcile_account *));
    if (slots == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < reconcile->slots_count; i++) {
        struct reconcile_account *account = reconcile->slots[i];
        if (account != NULL)
            *slot_of(slots, count, account->tag, strlen(account->tag)) = account;
    }
    free(reconcile->slots);
    reconcile->slots = slots;
    reconcile->slots_count = count;
    return 0;
}

struct reconcile_account *reconcile_account(struct ledger_reconcile *reconcile, const char *tag,
                                            size_t length)
{
    struct reconcile_account **slot =
        slot_of(reconcile->slots, reconcile->slots_count, tag, length);
    if (*slot != NULL)
        return *slot;
    if (reconcile->count * 2 >= reconcile->slots_count) {
        if (grow(reconcile) != 0)
            return NULL;
        slot = slot_of(reconcile->slots, reconcile->slots_count, tag, length);
    }
    size_t shares = reconcile->lanes_count * sizeof(struct reconcile_share);
    struct reconcile_account *account =
        calloc(1, sizeof(struct reconcile_account) + shares + length + 1);
    if (account == NULL)
        return NULL;
    account->tag = (char *)account + sizeof(struct reconcile_account) + shares;
    memcpy(account->tag, tag, length);
    *slot = account;
    reconcile->count++;
    return account;
}

bool reconcile_has(const struct ledger_reconcile *reconcile, const char *tag, size_t length)
{
    return *slot_of(reconcile->slots, reconcile->slots_count, tag, length) != NULL;
}

const struct reconcile_lane *reconcile_lane_of(const struct ledger_reconcile *reconcile,
                                               const char *instance)
{
    for (size_t i = 0; i < reconcile->lanes_count; i++)
        if (strcmp(reconcile->lanes[i].instance, instance) == 0)
            return &reconcile->lanes[i];
    return NULL;
}
