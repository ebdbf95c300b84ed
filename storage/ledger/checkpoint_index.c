/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds accounts in a checkpoint by the index at its end. See checkpoint_index.h.
 */
#include "storage/ledger/checkpoint_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"

#define NO_BLOCK SIZE_MAX

static uint64_t get64(const uint8_t *at)
{
    uint64_t value = 0;
    for (unsigned i = 8; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

/* Where the accounts end, and the index begins. 0 or -EBADMSG. */
static int judge_head(const struct checkpoint_head *head, uint64_t *accounts_end, uint64_t *at)
{
    uint64_t body = head->body_bytes;
    if (head->segment > body / 8 || head->downloads > body / CHECKPOINT_SUM_BYTES ||
        head->blocks > body / CHECKPOINT_ENTRY_BYTES)
        return -EBADMSG;
    uint64_t tail = head->segment * 8 + head->downloads * CHECKPOINT_SUM_BYTES +
                    head->blocks * CHECKPOINT_ENTRY_BYTES;
    if (tail > body || (head->blocks == 0) != (head->accounts == 0))
        return -EBADMSG;
    *at = CHECKPOINT_HEAD_BYTES + body - head->blocks * CHECKPOINT_ENTRY_BYTES;
    *accounts_end = CHECKPOINT_HEAD_BYTES + body - tail;
    return 0;
}

/* Takes the entries of the index; the one behind the last says where the accounts end. */
static int take_entries(struct checkpoint_index *index, const uint8_t *bytes, uint64_t end)
{
    struct checkpoint_blocks *blocks = &index->blocks;
    uint64_t expected = CHECKPOINT_HEAD_BYTES;
    for (size_t i = 0; i < blocks->count; i++) {
        const uint8_t *at = bytes + i * CHECKPOINT_ENTRY_BYTES;
        struct checkpoint_block *block = &blocks->list[i];
        *block = (struct checkpoint_block){get64(at), get64(at + 8), get64(at + 16)};
        bool follows = i == 0 ? block->offset == expected
                              : block->offset > expected && block->hash >= block[-1].hash;
        if (!follows || block->offset >= end)
            return -EBADMSG;
        expected = block->offset;
    }
    blocks->list[blocks->count] = (struct checkpoint_block){.offset = end};
    return 0;
}

static int read_index(struct checkpoint_index *index)
{
    const struct checkpoint_head *head = &index->head;
    uint64_t end, at;
    int result = judge_head(head, &end, &at);
    if (result != 0)
        return result;
    size_t length = head->blocks * CHECKPOINT_ENTRY_BYTES;
    uint8_t *bytes = calloc(head->blocks + 1, CHECKPOINT_ENTRY_BYTES);
    index->blocks.count = head->blocks;
    index->blocks.list = calloc(head->blocks + 1, sizeof(struct checkpoint_block));
    if (bytes == NULL || index->blocks.list == NULL)
        result = -ENOMEM;
    if (result == 0 && length > 0)
        result = index->disk->read(index->disk->self, index->fd, at, bytes, length);
    if (result == 0 && XXH3_64bits(bytes, length) != head->index_hash)
        result = -EBADMSG;
    if (result == 0)
        result = take_entries(index, bytes, end);
    free(bytes);
    return result;
}

int checkpoint_index_open(struct checkpoint_index *index, const struct checkpoint_place *place,
                          uint32_t segment)
{
    struct checkpoint_reader reader;
    *index = (struct checkpoint_index){.disk = place->disk, .fd = -1, .block = NO_BLOCK};
    int result = checkpoint_open(&reader, place->disk, place->checkpoints, segment);
    if (result == 0 && memcmp(reader.head.instance, place->instance, JOURNAL_ID_BYTES) != 0)
        result = -EBADMSG;
    if (result == 0) { /* takes the file over */
        index->fd = reader.fd;
        index->head = reader.head;
        reader.fd = -1;
    }
    checkpoint_reader_close(&reader);
    return result == 0 ? read_index(index) : result;
}

void checkpoint_index_close(struct checkpoint_index *index)
{
    if (index->disk != NULL && index->fd >= 0)
        index->disk->close(index->disk->self, index->fd);
    free(index->blocks.list);
    free(index->buffer);
    *index = (struct checkpoint_index){.fd = -1, .block = NO_BLOCK};
}

/* Has the block in the buffer. 0, -EBADMSG, or another negative errno. */
static int load(struct checkpoint_index *index, size_t number)
{
    const struct checkpoint_block *block = &index->blocks.list[number];
    if (index->block == number)
        return 0;
    size_t length = block[1].offset - block->offset;
    index->block = NO_BLOCK;
    if (length > index->room) {
        uint8_t *buffer = realloc(index->buffer, length);
        if (buffer == NULL)
            return -ENOMEM;
        index->buffer = buffer;
        index->room = length;
    }
    int result =
        index->disk->read(index->disk->self, index->fd, block->offset, index->buffer, length);
    if (result != 0)
        return result;
    if (XXH3_64bits(index->buffer, length) != block->sum)
        return -EBADMSG;
    index->length = length;
    index->block = number;
    return 0;
}

/* The account at this place of the loaded block. Its name, or NULL: the block is damaged. */
static const char *account_at(const struct checkpoint_index *index, size_t at, size_t *text_length,
                              const uint8_t **bytes, uint32_t *length)
{
    *bytes = index->buffer + at;
    *length = index->length - at < CHECKPOINT_PREFIX ? 0 : checkpoint_account_length(*bytes);
    if (*length == 0 || *length > index->length - at)
        return NULL;
    return checkpoint_account_text(*bytes, *length, text_length);
}

/* Looks for the account in the loaded block. 1, 0, or -EBADMSG. */
static int look(const struct checkpoint_index *index, const char *text, size_t text_length,
                const uint8_t **bytes, uint32_t *length)
{
    for (size_t at = 0; at < index->length; at += *length) {
        size_t other_length;
        const char *other = account_at(index, at, &other_length, bytes, length);
        if (other == NULL)
            return -EBADMSG;
        if (other_length == text_length && memcmp(other, text, text_length) == 0)
            return 1;
    }
    return 0;
}

int checkpoint_index_find(struct checkpoint_index *index, const char *text, size_t text_length,
                          const uint8_t **bytes, uint32_t *length)
{
    const struct checkpoint_blocks *blocks = &index->blocks;
    uint64_t hash = checkpoint_hash(text, text_length);
    size_t low = 0, high = blocks->count; /* the first block that begins behind the hash */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (blocks->list[middle].hash <= hash)
            low = middle + 1;
        else
            high = middle;
    }
    /* Names of one hash may stand in several blocks. */
    for (size_t number = low; number-- > 0;) {
        int result = load(index, number);
        if (result == 0)
            result = look(index, text, text_length, bytes, length);
        if (result != 0 || blocks->list[number].hash < hash)
            return result;
    }
    return 0;
}

int checkpoint_index_next(struct checkpoint_index *index, struct checkpoint_place_of_account *place,
                          const uint8_t **bytes, uint32_t *length)
{
    size_t text_length;
    if (place->block == index->blocks.count)
        return 0;
    int result = index->block == place->block ? 0 : load(index, place->block);
    if (result != 0)
        return result;
    if (account_at(index, place->at, &text_length, bytes, length) == NULL)
        return -EBADMSG;
    place->at += *length;
    if (place->at == index->length) /* which the buffer keeps until the next call */
        *place = (struct checkpoint_place_of_account){.block = place->block + 1};
    return 1;
}

int checkpoint_index_wake(struct checkpoint_index *index, struct ledger_account *account,
                          bool is_posted)
{
    const struct ledger_name *name = &account->name;
    struct names_records records;
    const uint8_t *bytes = NULL;
    uint32_t length;
    if (names_is_awake(account))
        return 0;
    int result = checkpoint_index_find(index, name->text, name->length, &bytes, &length);
    if (result == 1)
        checkpoint_account_records(bytes, &records);
    if (result >= 0)
        (void)names_wake(account, result == 1 ? &records : NULL, is_posted);
    return result < 0 ? result : 0;
}
