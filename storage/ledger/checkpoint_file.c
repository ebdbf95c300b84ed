/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and reads a checkpoint's file in one go, from its begin to its end. See checkpoint_file.h.
 */
#include "storage/ledger/checkpoint_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"

#define MAGIC        UINT64_C(0x31544e504b434754) /* "TGCKPNT1" */
#define BUFFER_BYTES ((size_t)256 * 1024)
#define ALIGNMENT    4096u

/*      field, all of 8 bytes, behind the magic (8), the format (8) and the instance (16) */
#define HEAD_FIELDS(X)                                                                             \
    X(segment)                                                                                     \
    X(time_ms)                                                                                     \
    X(chain)                                                                                       \
    X(records)                                                                                     \
    X(entries)                                                                                     \
    X(vouched)                                                                                     \
    X(vouches)                                                                                     \
    X(found_lease)                                                                                 \
    X(found_download)                                                                              \
    X(bytes)                                                                                       \
    X(responses)                                                                                   \
    X(accounts)                                                                                    \
    X(downloads)                                                                                   \
    X(body_bytes)                                                                                  \
    X(body_hash)                                                                                   \
    X(blocks)                                                                                      \
    X(index_hash)

#define HASH_AT (CHECKPOINT_HEAD_BYTES - 8)

static void put64(uint8_t *at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value = 0;
    for (unsigned i = 8; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static void encode_head(const struct checkpoint_head *head, uint8_t out[CHECKPOINT_HEAD_BYTES])
{
    memset(out, 0, CHECKPOINT_HEAD_BYTES);
    put64(out, MAGIC);
    put64(out + 8, CHECKPOINT_FORMAT);
    memcpy(out + 16, head->instance, JOURNAL_ID_BYTES);
    uint8_t *at = out + 16 + JOURNAL_ID_BYTES;
#define X(field)                                                                                   \
    put64(at, head->field);                                                                        \
    at += 8;
    HEAD_FIELDS(X)
#undef X
    put64(out + HASH_AT, XXH3_64bits(out, HASH_AT));
}

static int decode_head(const uint8_t bytes[CHECKPOINT_HEAD_BYTES], struct checkpoint_head *head)
{
    if (get64(bytes) != MAGIC || get64(bytes + 8) < CHECKPOINT_OLDEST ||
        get64(bytes + HASH_AT) != XXH3_64bits(bytes, HASH_AT))
        return -EBADMSG;
    if (get64(bytes + 8) > CHECKPOINT_FORMAT)
        return -EPROTONOSUPPORT;
    memcpy(head->instance, bytes + 16, JOURNAL_ID_BYTES);
    const uint8_t *at = bytes + 16 + JOURNAL_ID_BYTES;
#define X(field)                                                                                   \
    head->field = get64(at);                                                                       \
    at += 8;
    HEAD_FIELDS(X)
#undef X
    return 0;
}

void checkpoint_clear(struct checkpoint *checkpoint)
{
    free(checkpoint->bases);
    free(checkpoint->downloads);
    memset(checkpoint, 0, sizeof(*checkpoint));
}

/* ---- writing ---- */

int checkpoint_create(struct checkpoint_writer *writer, const struct ledger_disk *disk,
                      int directory, uint32_t segment, uint64_t length)
{
    uint64_t index = (length / CHECKPOINT_BLOCK_BYTES + 1) * CHECKPOINT_ENTRY_BYTES;
    uint64_t whole =
        (CHECKPOINT_HEAD_BYTES + length + index + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *writer = (struct checkpoint_writer){
        .disk = disk, .fd = -1, .offset = CHECKPOINT_HEAD_BYTES, .length = whole};
    writer->buffer = malloc(BUFFER_BYTES);
    writer->hash = XXH3_createState();
    writer->block_hash = XXH3_createState();
    if (writer->buffer == NULL || writer->hash == NULL || writer->block_hash == NULL)
        return -ENOMEM;
    (void)XXH3_64bits_reset(writer->hash);
    writer->fd = disk->create(disk->self, directory, segment, whole);
    return writer->fd < 0 ? writer->fd : 0;
}

static int flush(struct checkpoint_writer *writer)
{
    if (writer->buffered == 0)
        return 0;
    int result = writer->disk->write(writer->disk->self, writer->fd, writer->offset, writer->buffer,
                                     writer->buffered);
    if (result != 0)
        return result;
    (void)XXH3_64bits_update(writer->hash, writer->buffer, writer->buffered);
    writer->offset += writer->buffered;
    writer->buffered = 0;
    return 0;
}

static int write_bytes(struct checkpoint_writer *writer, const uint8_t *from, size_t length)
{
    if (length > writer->length - writer->offset - writer->buffered)
        return -EFBIG;
    while (length > 0) {
        size_t part = BUFFER_BYTES - writer->buffered;
        if (part > length)
            part = length;
        memcpy(writer->buffer + writer->buffered, from, part);
        writer->buffered += part;
        from += part;
        length -= part;
        int result = writer->buffered == BUFFER_BYTES ? flush(writer) : 0;
        if (result != 0)
            return result;
    }
    return 0;
}

/* Begins a block with the account, unless one is open. 0 or -ENOMEM. */
static int begin_block(struct checkpoint_writer *writer, const uint8_t *bytes, uint32_t length)
{
    struct checkpoint_blocks *blocks = &writer->blocks;
    size_t text_length;
    if (writer->block_bytes > 0)
        return 0;
    if (blocks->count == blocks->room) {
        size_t room = blocks->room == 0 ? 1024 : blocks->room * 2;
        struct checkpoint_block *list = reallocarray(blocks->list, room, sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        blocks->list = list;
        blocks->room = room;
    }
    const char *text = checkpoint_account_text(bytes, length, &text_length);
    check(text != NULL);
    blocks->list[blocks->count++] = (struct checkpoint_block){
        .hash = checkpoint_hash(text, text_length), .offset = writer->offset + writer->buffered};
    (void)XXH3_64bits_reset(writer->block_hash);
    return 0;
}

static void end_block(struct checkpoint_writer *writer)
{
    if (writer->block_bytes == 0)
        return;
    writer->blocks.list[writer->blocks.count - 1].sum = XXH3_64bits_digest(writer->block_hash);
    writer->block_bytes = 0;
}

int checkpoint_write(struct checkpoint_writer *writer, const uint8_t *bytes, uint32_t length)
{
    int result = begin_block(writer, bytes, length);
    if (result != 0)
        return result;
    (void)XXH3_64bits_update(writer->block_hash, bytes, length);
    writer->block_bytes += length;
    if (writer->block_bytes >= CHECKPOINT_BLOCK_BYTES)
        end_block(writer);
    writer->accounts++;
    return write_bytes(writer, bytes, length);
}

static int write_index(struct checkpoint_writer *writer, struct checkpoint_head *head)
{
    uint8_t bytes[CHECKPOINT_ENTRY_BYTES];
    int result = 0;
    end_block(writer);
    (void)XXH3_64bits_reset(writer->block_hash);
    for (size_t i = 0; i < writer->blocks.count && result == 0; i++) {
        put64(bytes, writer->blocks.list[i].hash);
        put64(bytes + 8, writer->blocks.list[i].offset);
        put64(bytes + 16, writer->blocks.list[i].sum);
        (void)XXH3_64bits_update(writer->block_hash, bytes, sizeof(bytes));
        result = write_bytes(writer, bytes, sizeof(bytes));
    }
    head->blocks = writer->blocks.count;
    head->index_hash = XXH3_64bits_digest(writer->block_hash);
    return result;
}

static int write_tail(struct checkpoint_writer *writer, struct checkpoint *checkpoint)
{
    uint8_t bytes[CHECKPOINT_SUM_BYTES];
    int result = 0;
    for (uint64_t i = 0; i < checkpoint->head.segment && result == 0; i++) {
        put64(bytes, checkpoint->bases[i]);
        result = write_bytes(writer, bytes, 8);
    }
    for (uint64_t i = 0; i < checkpoint->head.downloads && result == 0; i++) {
        put64(bytes, checkpoint->downloads[i].download);
        put64(bytes + 8, checkpoint->downloads[i].bytes);
        put64(bytes + 16, checkpoint->downloads[i].responses);
        result = write_bytes(writer, bytes, CHECKPOINT_SUM_BYTES);
    }
    if (result == 0)
        result = write_index(writer, &checkpoint->head);
    return result == 0 ? flush(writer) : result;
}

int checkpoint_finish(struct checkpoint_writer *writer, struct checkpoint *checkpoint)
{
    const struct ledger_disk *disk = writer->disk;
    uint8_t bytes[CHECKPOINT_HEAD_BYTES];
    checkpoint->head.accounts = writer->accounts;
    int result = write_tail(writer, checkpoint);
    if (result == 0)
        result = disk->sync(disk->self, writer->fd);
    if (result != 0)
        return result;
    checkpoint->head.body_bytes = writer->offset - CHECKPOINT_HEAD_BYTES;
    checkpoint->head.body_hash = XXH3_64bits_digest(writer->hash);
    encode_head(&checkpoint->head, bytes);
    result = disk->write(disk->self, writer->fd, 0, bytes, sizeof(bytes));
    return result == 0 ? disk->sync(disk->self, writer->fd) : result;
}

void checkpoint_writer_close(struct checkpoint_writer *writer)
{
    if (writer->fd >= 0)
        writer->disk->close(writer->disk->self, writer->fd);
    free(writer->buffer);
    free(writer->blocks.list);
    XXH3_freeState(writer->hash);
    XXH3_freeState(writer->block_hash);
    *writer = (struct checkpoint_writer){.fd = -1};
}

/* ---- reading ---- */

int checkpoint_open(struct checkpoint_reader *reader, const struct ledger_disk *disk, int directory,
                    uint32_t segment)
{
    uint8_t bytes[CHECKPOINT_HEAD_BYTES];
    uint64_t size = 0;
    *reader = (struct checkpoint_reader){.disk = disk, .fd = -1, .room = BUFFER_BYTES};
    reader->fd = disk->open(disk->self, directory, segment, false, &size);
    if (reader->fd < 0)
        return reader->fd;
    if (size < sizeof(bytes))
        return -EBADMSG;
    int result = disk->read(disk->self, reader->fd, 0, bytes, sizeof(bytes));
    if (result == 0)
        result = decode_head(bytes, &reader->head);
    if (result != 0)
        return result;
    if (reader->head.segment != segment || reader->head.body_bytes > size - sizeof(bytes))
        return -EBADMSG;
    reader->offset = CHECKPOINT_HEAD_BYTES;
    reader->end = CHECKPOINT_HEAD_BYTES + reader->head.body_bytes;
    reader->buffer = malloc(reader->room);
    reader->hash = XXH3_createState();
    if (reader->buffer == NULL || reader->hash == NULL)
        return -ENOMEM;
    (void)XXH3_64bits_reset(reader->hash);
    return 0;
}

/* Has `length` bytes stand at the reader's place in the buffer. */
static int fill(struct checkpoint_reader *reader, size_t length)
{
    size_t left = reader->buffered - reader->at;
    if (left >= length)
        return 0;
    if (length - left > reader->end - reader->offset)
        return -EBADMSG;
    if (length > reader->room) {
        uint8_t *grown = realloc(reader->buffer, length);
        if (grown == NULL)
            return -ENOMEM;
        reader->buffer = grown;
        reader->room = length;
    }
    memmove(reader->buffer, reader->buffer + reader->at, left);
    reader->at = 0;
    reader->buffered = left;
    uint64_t more = reader->room - left;
    if (more > reader->end - reader->offset)
        more = reader->end - reader->offset;
    int result = reader->disk->read(reader->disk->self, reader->fd, reader->offset,
                                    reader->buffer + left, (size_t)more);
    if (result != 0)
        return result;
    (void)XXH3_64bits_update(reader->hash, reader->buffer + left, (size_t)more);
    reader->offset += more;
    reader->buffered += (size_t)more;
    return 0;
}

int checkpoint_next(struct checkpoint_reader *reader, const uint8_t **bytes, uint32_t *length)
{
    if (reader->accounts == reader->head.accounts)
        return 0;
    int result = fill(reader, CHECKPOINT_PREFIX);
    if (result != 0)
        return result;
    *length = checkpoint_account_length(reader->buffer + reader->at);
    result = *length == 0 ? -EBADMSG : fill(reader, *length);
    if (result != 0)
        return result;
    *bytes = reader->buffer + reader->at;
    reader->at += *length;
    reader->accounts++;
    return 1;
}

static int read_tail(struct checkpoint_reader *reader, struct checkpoint *out)
{
    const struct checkpoint_head *head = &out->head;
    uint64_t left = reader->end - reader->offset + reader->buffered - reader->at;
    int result = 0;
    if (head->segment > left / 8 || head->downloads > left / CHECKPOINT_SUM_BYTES ||
        head->blocks > left / CHECKPOINT_ENTRY_BYTES ||
        left != head->segment * 8 + head->downloads * CHECKPOINT_SUM_BYTES +
                    head->blocks * CHECKPOINT_ENTRY_BYTES)
        return -EBADMSG;
    out->bases = calloc(head->segment + 1, sizeof(out->bases[0]));
    out->downloads = calloc(head->downloads + 1, sizeof(out->downloads[0]));
    if (out->bases == NULL || out->downloads == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < head->segment && (result = fill(reader, 8)) == 0; i++) {
        out->bases[i] = get64(reader->buffer + reader->at);
        reader->at += 8;
    }
    for (uint64_t i = 0; result == 0 && i < head->downloads; i++) {
        if ((result = fill(reader, CHECKPOINT_SUM_BYTES)) != 0)
            break;
        const uint8_t *at = reader->buffer + reader->at;
        out->downloads[i] = (struct download_sum){
            .download = get64(at), .bytes = get64(at + 8), .responses = get64(at + 16)};
        reader->at += CHECKPOINT_SUM_BYTES;
    }
    for (uint64_t i = 0; result == 0 && i < head->blocks; i++) /* hashed, and not needed */
        if ((result = fill(reader, CHECKPOINT_ENTRY_BYTES)) == 0)
            reader->at += CHECKPOINT_ENTRY_BYTES;
    return result;
}

int checkpoint_end(struct checkpoint_reader *reader, struct checkpoint *out)
{
    *out = (struct checkpoint){.head = reader->head};
    int result = reader->accounts == reader->head.accounts ? read_tail(reader, out) : -EBADMSG;
    if (result == 0 && XXH3_64bits_digest(reader->hash) != reader->head.body_hash)
        result = -EBADMSG;
    if (result != 0)
        checkpoint_clear(out);
    return result;
}

void checkpoint_reader_close(struct checkpoint_reader *reader)
{
    if (reader->fd >= 0)
        reader->disk->close(reader->disk->self, reader->fd);
    free(reader->buffer);
    XXH3_freeState(reader->hash);
    *reader = (struct checkpoint_reader){.fd = -1};
}
