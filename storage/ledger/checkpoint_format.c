/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An account of a checkpoint as bytes, and back. Called by checkpoint_make.c and by whoever reads a
 * checkpoint. All numbers are little-endian.
 *
 *   account    0 u32 length in all, a multiple of 8       4 u32 length of the name
 *              8 u64 sequence   16 u64 bytes   24 u64 responses   32 u64 operation's number
 *             40 u64 tail before                          48 u32 tail segment
 *             52 u32 files      56 u32 operations         60 u32 usages
 *             64 u64 uses       72 u64 controls
 *             80 the name, then all files, operations, usages and uses; zeros up to the length
 *   file       u16 length, text
 *   operation  u8 operation, u8 plan, u8 length of the transaction, u8 length of the node,
 *              u32 max_conns, u64 amount, time, number, max_bytes, transaction, node
 *   usage      u32 day, u32 file (1 is the first; 0: none), u64 bytes, u64 responses
 *   use        32B link id, u32 file, u32 taken, u64 opened, u64 bytes, u32 till, u32 keep
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "server/base/check.h"
#include "storage/ledger/checkpoint.h"

#define HEAD_BYTES          80u
#define OPERATION_BYTES_MIN 40u
#define USAGE_BYTES         24u
#define USE_BYTES           64u

uint64_t checkpoint_hash(const char *text, size_t length)
{
    return XXH3_64bits(text, length);
}

/* ---- writing ---- */

/* Where `length` more bytes go; NULL: no memory. */
static uint8_t *grow(struct checkpoint_bytes *out, size_t length)
{
    if (out->length + length > out->room) {
        size_t room = out->room == 0 ? 4096 : out->room;
        while (room < out->length + length)
            room *= 2;
        uint8_t *data = realloc(out->data, room);
        if (data == NULL)
            return NULL;
        out->data = data;
        out->room = room;
    }
    uint8_t *at = out->data + out->length;
    out->length += length;
    return at;
}

static uint8_t *put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
    return at + bytes;
}

static uint8_t *put_text(uint8_t *at, const char *text, size_t length)
{
    memcpy(at, text, length);
    return at + length;
}

/* The files of an account, each once; `numbers` of usages and uses are made in their order. */
struct files {
    struct ledger_file **files; /* borrows them; owns the array */
    uint32_t count;
    uint32_t room;
};

static int compare_files(const void *first, const void *second)
{
    return checkpoint_order_files(*(struct ledger_file *const *)first,
                                  *(struct ledger_file *const *)second);
}

static int gather_files(const struct checkpoint_account *account, struct files *files)
{
    files->files = calloc((size_t)account->usages_count + account->uses_count + 1,
                          sizeof(struct ledger_file *));
    if (files->files == NULL)
        return -ENOMEM;
    uint32_t count = 0;
    for (uint32_t i = 0; i < account->usages_count; i++)
        if (account->usages[i].file != NULL)
            files->files[count++] = account->usages[i].file;
    for (uint32_t i = 0; i < account->uses_count; i++)
        files->files[count++] = account->uses[i].file;
    qsort(files->files, count, sizeof(struct ledger_file *), compare_files);
    for (uint32_t i = 0; i < count; i++)
        if (files->count == 0 || files->files[files->count - 1] != files->files[i])
            files->files[files->count++] = files->files[i];
    return 0;
}

static uint32_t number_of(const struct files *files, struct ledger_file *file)
{
    if (file == NULL)
        return 0;
    struct ledger_file **found =
        bsearch(&file, files->files, files->count, sizeof(struct ledger_file *), compare_files);
    check(found != NULL);
    return (uint32_t)(found - files->files) + 1;
}

static size_t operation_bytes(const struct checkpoint_operation *operation)
{
    return OPERATION_BYTES_MIN + strlen(operation->transaction) + strlen(operation->node);
}

static uint8_t *put_operation(uint8_t *at, const struct checkpoint_operation *operation)
{
    size_t transaction = strlen(operation->transaction), node = strlen(operation->node);
    at = put(at, (uint64_t)operation->operation, 1);
    at = put(at, (uint64_t)operation->plan, 1);
    at = put(at, transaction, 1);
    at = put(at, node, 1);
    at = put(at, operation->max_conns, 4);
    at = put(at, (uint64_t)operation->amount, 8);
    at = put(at, operation->time_ms, 8);
    at = put(at, operation->number, 8);
    at = put(at, operation->max_bytes, 8);
    at = put_text(at, operation->transaction, transaction);
    return put_text(at, operation->node, node);
}

static uint8_t *put_use(uint8_t *at, const struct checkpoint_use *use, const struct files *files)
{
    memcpy(at, use->link_id, sizeof(use->link_id));
    at = put(at + sizeof(use->link_id), number_of(files, use->file), 4);
    at = put(at, use->taken, 4);
    at = put(at, use->opened_ms, 8);
    at = put(at, use->bytes, 8);
    at = put(at, use->till_s, 4);
    return put(at, use->keep_s, 4);
}

static uint8_t *put_head(uint8_t *at, const struct checkpoint_account *account, size_t length,
                         uint32_t files)
{
    at = put(at, length, 4);
    at = put(at, account->name->length, 4);
    at = put(at, account->sequence, 8);
    at = put(at, account->bytes, 8);
    at = put(at, account->responses, 8);
    at = put(at, account->operation_number, 8);
    at = put(at, account->tail_before, 8);
    at = put(at, account->tail_segment, 4);
    at = put(at, files, 4);
    at = put(at, account->operations_count, 4);
    at = put(at, account->usages_count, 4);
    at = put(at, account->uses_count, 8);
    at = put(at, account->controls, 8);
    return put_text(at, account->name->text, account->name->length);
}

static int encode(const struct checkpoint_account *account, const struct files *files,
                  struct checkpoint_bytes *out)
{
    size_t length = HEAD_BYTES + account->name->length;
    for (uint32_t i = 0; i < files->count; i++)
        length += 2 + files->files[i]->name.length;
    for (uint32_t i = 0; i < account->operations_count; i++)
        length += operation_bytes(&account->operations[i]);
    length += (size_t)account->usages_count * USAGE_BYTES + (size_t)account->uses_count * USE_BYTES;
    size_t whole = (length + 7) / 8 * 8;
    uint8_t *at = whole > CHECKPOINT_ACCOUNT_BYTES_MAX ? NULL : grow(out, whole);
    if (at == NULL)
        return -ENOMEM;
    uint8_t *end = at + whole;
    at = put_head(at, account, whole, files->count);
    for (uint32_t i = 0; i < files->count; i++) {
        at = put(at, files->files[i]->name.length, 2);
        at = put_text(at, files->files[i]->name.text, files->files[i]->name.length);
    }
    for (uint32_t i = 0; i < account->operations_count; i++)
        at = put_operation(at, &account->operations[i]);
    for (uint32_t i = 0; i < account->usages_count; i++) {
        at = put(at, account->usages[i].day, 4);
        at = put(at, number_of(files, account->usages[i].file), 4);
        at = put(at, account->usages[i].bytes, 8);
        at = put(at, account->usages[i].responses, 8);
    }
    for (uint32_t i = 0; i < account->uses_count; i++)
        at = put_use(at, &account->uses[i], files);
    check(at <= end && (size_t)(end - at) < 8);
    memset(at, 0, (size_t)(end - at));
    return 0;
}

int checkpoint_account_encode(const struct checkpoint_account *account,
                              struct checkpoint_bytes *out)
{
    struct files files = {0};
    int result = gather_files(account, &files);
    if (result == 0)
        result = encode(account, &files, out);
    free(files.files);
    return result;
}

/* ---- reading ---- */

/* A cursor over bytes; what would pass the end is not read, and sets `bad`. */
struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

static const uint8_t *take(struct cursor *cursor, size_t length)
{
    static const uint8_t zeros[LEDGER_FILE_MAX + 1];
    if (cursor->bad || length > (size_t)(cursor->end - cursor->at)) {
        cursor->bad = true;
        check(length <= sizeof(zeros));
        return zeros;
    }
    const uint8_t *at = cursor->at;
    cursor->at += length;
    return at;
}

static uint64_t number(struct cursor *cursor, unsigned bytes)
{
    const uint8_t *at = take(cursor, bytes);
    uint64_t value = 0;
    for (unsigned i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static uint32_t number32(struct cursor *cursor)
{
    return (uint32_t)number(cursor, 4);
}

/* Reads a text of at most `most` bytes into `out`, which ends with NUL. */
static void read_text(struct cursor *cursor, size_t length, char *out, size_t most)
{
    if (length > most) {
        cursor->bad = true;
        return;
    }
    memcpy(out, take(cursor, length), length);
    out[length] = '\0';
}

void checkpoint_account_records(const uint8_t *bytes, struct names_records *out)
{
    struct cursor cursor = {.at = bytes + 8, .end = bytes + HEAD_BYTES};
    out->sequence = number(&cursor, 8);
    out->bytes = number(&cursor, 8);
    (void)number(&cursor, 8);
    out->operation_number = number(&cursor, 8);
    out->tail_before = number(&cursor, 8);
    out->tail_segment = number32(&cursor);
}

static void read_operation(struct cursor *cursor, struct checkpoint_operation *out)
{
    memset(out, 0, sizeof(*out));
    uint64_t operation = number(cursor, 1), plan = number(cursor, 1);
    size_t transaction = number(cursor, 1), node = number(cursor, 1);
    cursor->bad = cursor->bad || operation > LEDGER_LIMIT || plan > LEDGER_POSTPAID;
    out->operation = cursor->bad ? LEDGER_OPEN : (enum ledger_operation)operation;
    out->plan = cursor->bad ? LEDGER_PREPAID : (enum ledger_plan)plan;
    out->max_conns = number32(cursor);
    out->amount = (int64_t)number(cursor, 8);
    out->time_ms = number(cursor, 8);
    out->number = number(cursor, 8);
    out->max_bytes = number(cursor, 8);
    read_text(cursor, transaction, out->transaction, LEDGER_TRANSACTION_MAX);
    read_text(cursor, node, out->node, LEDGER_NODE_MAX);
}

/* The file of this number, with a reference; NULL: none, or not one that may be there. */
static struct ledger_file *file_of(struct cursor *cursor, const struct files *files)
{
    uint32_t at = number32(cursor);
    if (at > files->count)
        cursor->bad = true;
    if (at == 0 || at > files->count)
        return NULL;
    names_hold(&files->files[at - 1]->name);
    return files->files[at - 1];
}

static void read_use(struct cursor *cursor, const struct files *files, struct checkpoint_use *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->link_id, take(cursor, sizeof(out->link_id)), sizeof(out->link_id));
    out->file = file_of(cursor, files);
    out->taken = number32(cursor) != 0;
    out->opened_ms = number(cursor, 8);
    out->bytes = number(cursor, 8);
    out->till_s = number32(cursor);
    out->keep_s = number32(cursor);
    cursor->bad = cursor->bad || out->file == NULL;
}

static int read_files(struct cursor *cursor, uint32_t count, struct names *names,
                      struct files *files)
{
    for (uint32_t i = 0; i < count; i++) {
        struct ledger_name *name;
        size_t length = number(cursor, 2);
        if (cursor->bad || length > LEDGER_FILE_MAX)
            return -EBADMSG;
        const char *text = (const char *)take(cursor, length);
        int result = cursor->bad ? -EBADMSG : names_get(names, JOURNAL_FILE, text, length, &name);
        if (result != 0)
            return result == -EINVAL ? -EBADMSG : result;
        files->files[files->count++] = (struct ledger_file *)name;
    }
    return 0;
}

static int read_head(struct cursor *cursor, struct names *names, struct checkpoint_account *out,
                     uint32_t *files)
{
    (void)take(cursor, 4);
    size_t length = number(cursor, 4);
    out->first = 1;
    out->sequence = number(cursor, 8);
    out->bytes = number(cursor, 8);
    out->responses = number(cursor, 8);
    out->operation_number = number(cursor, 8);
    out->tail_before = number(cursor, 8);
    out->tail_segment = number32(cursor);
    *files = number32(cursor);
    out->operations_room = number32(cursor);
    out->usages_room = number32(cursor);
    out->uses_room = (uint32_t)number(cursor, 8);
    out->controls = number(cursor, 8);
    size_t left = (size_t)(cursor->end - cursor->at);
    if (cursor->bad || length > LEDGER_FILE_MAX || *files > left / 2 ||
        out->operations_room > left / OPERATION_BYTES_MIN ||
        out->usages_room > left / USAGE_BYTES || out->uses_room > left / USE_BYTES)
        return -EBADMSG;
    const char *text = (const char *)take(cursor, length);
    int result =
        cursor->bad ? -EBADMSG : names_get(names, JOURNAL_ACCOUNT, text, length, &out->name);
    return result == -EINVAL ? -EBADMSG : result;
}

static int read_lists(struct cursor *cursor, const struct files *files,
                      struct checkpoint_account *out)
{
    out->operations = calloc((size_t)out->operations_room + 1, sizeof(out->operations[0]));
    out->usages = calloc((size_t)out->usages_room + 1, sizeof(out->usages[0]));
    out->uses = calloc((size_t)out->uses_room + 1, sizeof(out->uses[0]));
    if (out->operations == NULL || out->usages == NULL || out->uses == NULL)
        return -ENOMEM;
    while (out->operations_count < out->operations_room && !cursor->bad)
        read_operation(cursor, &out->operations[out->operations_count++]);
    while (out->usages_count < out->usages_room && !cursor->bad) {
        struct checkpoint_usage *usage = &out->usages[out->usages_count++];
        usage->day = number32(cursor);
        usage->file = file_of(cursor, files);
        usage->bytes = number(cursor, 8);
        usage->responses = number(cursor, 8);
    }
    while (out->uses_count < out->uses_room && !cursor->bad)
        read_use(cursor, files, &out->uses[out->uses_count++]);
    return cursor->bad || cursor->end - cursor->at >= 8 ? -EBADMSG : 0;
}

uint32_t checkpoint_account_length(const uint8_t prefix[CHECKPOINT_PREFIX])
{
    struct cursor cursor = {prefix, prefix + CHECKPOINT_PREFIX, false};
    uint32_t length = number32(&cursor);
    return length < HEAD_BYTES || length % 8 != 0 || length > CHECKPOINT_ACCOUNT_BYTES_MAX ? 0
                                                                                           : length;
}

const char *checkpoint_account_text(const uint8_t *bytes, uint32_t length, size_t *text_length)
{
    struct cursor cursor = {bytes + 4, bytes + 8, false};
    *text_length = number(&cursor, 4);
    return *text_length > length - HEAD_BYTES ? NULL : (const char *)bytes + HEAD_BYTES;
}

int checkpoint_account_decode(const uint8_t *bytes, uint32_t length, struct names *names,
                              struct checkpoint_account *out)
{
    struct cursor cursor = {bytes, bytes + length, false};
    struct files files = {0};
    uint32_t count;
    int result = read_head(&cursor, names, out, &count);
    if (result == 0 &&
        (files.files = calloc((size_t)count + 1, sizeof(struct ledger_file *))) == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = read_files(&cursor, count, names, &files);
    if (result == 0)
        result = read_lists(&cursor, &files, out);
    for (uint32_t i = 0; i < files.count; i++)
        names_drop(&files.files[i]->name);
    free(files.files);
    if (result != 0)
        checkpoint_account_clear(out);
    return result;
}
