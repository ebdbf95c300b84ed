/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One account of a checkpoint, without reading the others. The accounts stand in the file in the order of
 * checkpoint_hash; they are parted in blocks, of which the index at the file's end says with which hash
 * each begins, where, and what its bytes add up to. So an account costs one read, and the next one of
 * the same block none.
 */
#ifndef TOLLGATE_LEDGER_CHECKPOINT_INDEX_H
#define TOLLGATE_LEDGER_CHECKPOINT_INDEX_H

#include "storage/ledger/checkpoint_make.h"

struct checkpoint_index {
    const struct ledger_disk *disk; /* borrows */
    int fd;
    struct checkpoint_head head;
    struct checkpoint_blocks blocks; /* and one behind the last, where the accounts end */
    size_t block;                    /* in the buffer; SIZE_MAX: none */
    uint8_t *buffer;                 /* owns */
    size_t room, length;
};

/*
 * Opens the checkpoint of the segment and reads its index, of 24 bytes for each CHECKPOINT_BLOCK_BYTES of
 * accounts. 0; -ENOENT: there is none; -EBADMSG: it is damaged, or of another instance; or another
 * negative errno. Close it in any case.
 */
int checkpoint_index_open(struct checkpoint_index *index, const struct checkpoint_place *place,
                          uint32_t segment);
/*
 * Finds an account by its name. 1 with it, encoded, until the next call; 0: the checkpoint has none of
 * that name; -EBADMSG: the block is not what was written; or another negative errno. Accounts in the
 * order of their hashes are found fastest.
 */
int checkpoint_index_find(struct checkpoint_index *index, const char *text, size_t text_length,
                          const uint8_t **bytes, uint32_t *length);
/* Where an account stands; zero-initialised: the first one. */
struct checkpoint_place_of_account {
    size_t block, at;
};
/* Reads the next account, in the file's order. 1 with it, encoded, until the next call; 0: there are no more;
 * or a negative errno, as checkpoint_index_find. */
int checkpoint_index_next(struct checkpoint_index *index, struct checkpoint_place_of_account *place,
                          const uint8_t **bytes, uint32_t *length);
void checkpoint_index_close(struct checkpoint_index *index);
/* Looks for an account that is asleep, and wakes it (names_wake). 0, also where it is awake; or a negative errno,
 * as checkpoint_index_find. */
int checkpoint_index_wake(struct checkpoint_index *index, struct ledger_account *account,
                          bool is_posted);
/*
 * Finds the newest sound checkpoint of a segment up to `most`, and lays it beneath the journal's names, which
 * have none yet: its accounts count there, and are asleep. What it has beside them goes to `out`, which the
 * caller clears; its segment is 0 where there is none. Opens its index, which the caller closes. 0 or a
 * negative errno. Called by the scan.
 */
int checkpoint_load(struct checkpoint *out, struct checkpoint_index *index,
                    const struct journal *journal, int checkpoints, uint32_t most);

#endif
