/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a recording of what stores answer, and reads one. See store_recording.h. */
#include "tests/simulation/store_recording.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/check.h"
#include "storage/ledger/redis_table.h"
#include "storage/ledger/redis_talk.h"

static struct {
    FILE *file; /* NULL: nothing is recorded */
    uint64_t calls, most;
    uint64_t real_us;
    uint32_t stores;
} writing;

/* ---- writing ---- */

static void put_number(uint64_t number)
{
    for (; number >= 128; number >>= 7)
        putc((int)(number & 127) | 128, writing.file);
    putc((int)number, writing.file);
}

static void put_signed(int64_t number)
{
    put_number(((uint64_t)number << 1) ^ (uint64_t)(number >> 63));
}

static void put_text(const char *text, size_t length)
{
    put_number(length);
    (void)fwrite(text, 1, length, writing.file);
}

static void put_reply(const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        putc('i', writing.file);
        put_signed(reply->integer);
        break;
    case REDIS_REPLY_ARRAY:
        putc('a', writing.file);
        put_number(reply->elements);
        for (size_t i = 0; i < reply->elements; i++)
            put_reply(reply->element[i]);
        break;
    case REDIS_REPLY_NIL:
        putc('n', writing.file);
        break;
    default:
        putc(reply->type == REDIS_REPLY_ERROR    ? 'e'
             : reply->type == REDIS_REPLY_STATUS ? 't'
                                                 : 's',
             writing.file);
        put_text(reply->str, reply->len);
        break;
    }
}

bool recording_begin(const char *path, uint64_t most)
{
    const char *library = redis_library_text();
    check(writing.file == NULL);
    writing.file = fopen(path, "we");
    if (writing.file == NULL)
        return false;
    writing.calls = writing.real_us = 0;
    writing.most = most;
    writing.stores = 0;
    (void)fputs(RECORDING_MAGIC, writing.file);
    put_number(LEDGER_FUNCTIONS_FORMAT);
    put_text(library, strlen(library));
    return true;
}

bool recording_finish(void)
{
    FILE *file = writing.file;
    writing.file = NULL;
    bool good = ferror(file) == 0;
    return fclose(file) == 0 && good;
}

static bool is_recorded(uint32_t store)
{
    return writing.file != NULL && store != 0 && writing.calls < writing.most;
}

uint32_t recording_number(void)
{
    return writing.file != NULL ? ++writing.stores : 0;
}

void recording_change(enum recorded_kind kind, uint32_t store, uint32_t from)
{
    if (!is_recorded(store))
        return;
    putc((int)kind, writing.file);
    put_number(store);
    if (kind == RECORDED_COPY)
        put_number(from);
}

/* What the functions refuse changes nothing, and a later version may take it. */
static bool matters(const struct store_words *words, const redisReply *reply)
{
    static const char *const writes[] = {"HSET", "HDEL", "HINCRBY", "DEL", "PEXPIREAT"};
    bool is_refused = reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "ERR", 3) == 0;
    if (words->count > 1 && strcasecmp(words->text[0], "FCALL") == 0)
        return !is_refused && strncmp(words->text[1], "tollgate_", 9) == 0 &&
               strcmp(words->text[1], "tollgate_version") != 0;
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        if (strcasecmp(words->text[0], writes[i]) == 0)
            return true;
    return false;
}

void recording_call(uint32_t store, uint64_t real_us, const struct store_words *words,
                    const redisReply *reply)
{
    if (!is_recorded(store) || !matters(words, reply))
        return;
    putc(RECORDED_CALL, writing.file);
    put_number(store);
    put_signed((int64_t)(real_us - writing.real_us));
    put_number((uint64_t)words->count);
    for (int i = 0; i < words->count; i++)
        put_text(words->text[i], words->lengths[i]);
    put_reply(reply);
    writing.real_us = real_us;
    writing.calls++;
}

/* ---- reading ---- */

static uint64_t get_number(struct recording *from)
{
    uint64_t number = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        check(from->at < from->length && shift < 64);
        byte = from->bytes[from->at++];
        number |= (uint64_t)(byte & 127) << shift;
        shift += 7;
    } while (byte >= 128);
    return number;
}

static int64_t get_signed(struct recording *from)
{
    uint64_t number = get_number(from);
    return (int64_t)(number >> 1) ^ -(int64_t)(number & 1);
}

static const char *get_text(struct recording *from, size_t *length)
{
    *length = (size_t)get_number(from);
    check(*length <= from->length - from->at);
    const char *text = (const char *)from->bytes + from->at;
    from->at += *length;
    return text;
}

static redisReply *get_reply(struct recording *from)
{
    static const struct {
        char letter;
        int type;
    } texts[] = {{'s', REDIS_REPLY_STRING}, {'t', REDIS_REPLY_STATUS}, {'e', REDIS_REPLY_ERROR}};
    redisReply *reply = store_allocate(sizeof(*reply));
    memset(reply, 0, sizeof(*reply));
    check(from->at < from->length);
    char letter = (char)from->bytes[from->at++];
    reply->type = letter == 'i'   ? REDIS_REPLY_INTEGER
                  : letter == 'a' ? REDIS_REPLY_ARRAY
                                  : REDIS_REPLY_NIL;
    if (letter == 'i')
        reply->integer = get_signed(from);
    if (letter == 'a') {
        reply->elements = (size_t)get_number(from);
        check(reply->elements <= from->length);
        reply->element = store_allocate((reply->elements + 1) * sizeof(redisReply *));
        for (size_t i = 0; i < reply->elements; i++)
            reply->element[i] = get_reply(from);
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (letter != texts[i].letter)
            continue;
        const char *text = get_text(from, &reply->len);
        reply->type = texts[i].type;
        reply->str = store_allocate(reply->len + 1);
        memcpy(reply->str, text, reply->len);
        reply->str[reply->len] = '\0';
    }
    return reply;
}

static bool read_file(struct recording *recording, const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    size_t room = 0, got = 1;
    while (file != NULL && got > 0) {
        if (recording->length == room) {
            room = room == 0 ? 65536 : 2 * room;
            recording->bytes = store_resize(recording->bytes, room);
        }
        got = fread(recording->bytes + recording->length, 1, room - recording->length, file);
        recording->length += got;
    }
    bool good = file != NULL && ferror(file) == 0;
    if (file != NULL && file != stdin)
        (void)fclose(file);
    return good;
}

bool recording_read(struct recording *recording, const char *path, char error[200])
{
    static const char magic[] = RECORDING_MAGIC;
    struct recorded *entry = store_allocate(sizeof(*entry));
    memset(entry, 0, sizeof(*entry));
    *recording = (struct recording){0};
    bool good = read_file(recording, path) && recording->length > sizeof(magic) &&
                memcmp(recording->bytes, magic, sizeof(magic) - 1) == 0;
    snprintf(error, 200, "%.150s is not a recording of calls", path);
    if (good) {
        recording->at = sizeof(magic) - 1;
        recording->version = (uint32_t)get_number(recording);
        recording->library = get_text(recording, &recording->library_length);
        recording->first = recording->at;
        while (recording_next(recording, entry) != RECORDED_END)
            recording->calls += entry->kind == RECORDED_CALL;
        recording_rewind(recording);
    }
    free(entry);
    return good;
}

void recording_rewind(struct recording *recording)
{
    recording->at = recording->first;
    recording->real_us = 0;
}

enum recorded_kind recording_next(struct recording *recording, struct recorded *out)
{
    if (out->reply != NULL)
        freeReplyObject(out->reply);
    out->reply = NULL;
    out->kind = RECORDED_END;
    if (recording->at == recording->length)
        return out->kind;
    out->kind = (enum recorded_kind)recording->bytes[recording->at++];
    check(out->kind >= RECORDED_CALL && out->kind <= RECORDED_COPY);
    out->store = (uint32_t)get_number(recording);
    if (out->kind == RECORDED_COPY)
        out->from = (uint32_t)get_number(recording);
    if (out->kind != RECORDED_CALL)
        return out->kind;
    recording->real_us += (uint64_t)get_signed(recording);
    out->real_us = recording->real_us;
    uint64_t count = get_number(recording);
    check(count > 0 && count <= RECORDING_WORDS_MAX);
    for (uint64_t i = 0; i < count; i++)
        out->text[i] = get_text(recording, &out->lengths[i]);
    out->words = (struct store_words){(int)count, out->text, out->lengths};
    out->reply = get_reply(recording);
    return out->kind;
}

void recording_free(struct recording *recording, struct recorded *last)
{
    if (last != NULL && last->reply != NULL)
        freeReplyObject(last->reply);
    free(recording->bytes);
    *recording = (struct recording){0};
}
