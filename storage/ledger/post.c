/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathers records into posts and turns a post into a command. Only the poster's thread calls
 * it. Sums are exact: a post carries the sum of the journal's differences, per account, epoch,
 * day and file.
 */
#include "storage/ledger/post.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/check.h"
#include "storage/ledger/keys.h"

static uint32_t day_of(uint64_t time_ms)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm day;
    if (gmtime_r(&seconds, &day) == NULL)
        return 19700101;
    return (uint32_t)((day.tm_year + 1900) * 10000 + (day.tm_mon + 1) * 100 + day.tm_mday);
}

static struct post *new_post(struct post_batch *batch, const struct journal_entry *entry)
{
    if (batch->count == batch->room) {
        size_t room = batch->room == 0 ? 256 : batch->room * 2;
        struct post **posts = realloc(batch->posts, room * sizeof(struct post *));
        if (posts == NULL)
            return NULL;
        batch->posts = posts;
        batch->room = room;
    }
    struct post *post = calloc(1, sizeof(*post));
    if (post == NULL)
        return NULL;
    post->account = entry->account;
    post->from = post->to = entry->record.sequence;
    batch->posts[batch->count++] = post;
    return post;
}

/* Whether the entry belongs to the file of the post: the same file and, for a link with terms, the
 * same use. */
static bool is_of(const struct post_file *file, const struct journal_entry *entry)
{
    return file->file == entry->file && file->opened_ms == entry->record.opened_ms &&
           (file->opened_ms == 0 ||
            memcmp(file->link, entry->record.link, sizeof(file->link)) == 0);
}

static int add_file(struct post *post, const struct journal_entry *entry)
{
    struct post_file *at = NULL;
    for (size_t i = 0; i < post->files_count && at == NULL; i++)
        if (is_of(&post->files[i], entry))
            at = &post->files[i];
    if (at == NULL) {
        if (post->files_count == post->files_room) {
            size_t room = post->files_room == 0 ? 4 : post->files_room * 2;
            struct post_file *files = realloc(post->files, room * sizeof(struct post_file));
            if (files == NULL)
                return -ENOMEM;
            post->files = files;
            post->files_room = room;
        }
        at = &post->files[post->files_count++];
        *at = (struct post_file){.file = entry->file,
                                 .opened_ms = entry->record.opened_ms,
                                 .till_s = entry->record.till_s,
                                 .keep_s = entry->record.keep_s};
        memcpy(at->link, entry->record.link, sizeof(at->link));
        names_hold(&entry->file->name);
    }
    at->bytes += entry->record.bytes_delta;
    at->responses += entry->record.responses_delta;
    at->taken = at->taken || entry->record.taken;
    return 0;
}

int post_add(struct post_batch *batch, const struct journal_entry *entry,
             const uint8_t epoch[JOURNAL_ID_BYTES])
{
    const struct journal_record *record = &entry->record;
    struct ledger_account *account = entry->account;
    struct post *run = account->run;
    uint32_t day = day_of(record->time_ms);
    bool is_money = record->type == JOURNAL_MONEY;
    bool goes_on = run != NULL && !is_money && run->day == day &&
                   memcmp(run->epoch_id, epoch, JOURNAL_ID_BYTES) == 0 &&
                   run->files_count < POST_FILES_MAX;
    if (goes_on) {
        check(record->sequence == run->to + 1);
        run->to = record->sequence;
        return add_file(run, entry);
    }
    struct post *post = new_post(batch, entry);
    if (post == NULL)
        return -ENOMEM;
    memcpy(post->epoch_id, epoch, JOURNAL_ID_BYTES);
    for (size_t i = 0; i < JOURNAL_ID_BYTES; i++)
        snprintf(post->epoch + 2 * i, 3, "%02x", epoch[i]);
    post->day = day;
    post->is_money = is_money;
    post->money = *record;
    account->run = is_money ? NULL : post;
    return is_money ? 0 : add_file(post, entry);
}

void post_batch_clear(struct post_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct post *post = batch->posts[i];
        post->account->run = NULL;
        for (size_t f = 0; f < post->files_count; f++)
            names_drop(&post->files[f].file->name);
        free(post->files);
        free(post);
    }
    free(batch->posts);
    memset(batch, 0, sizeof(*batch));
}

const char *post_operation_name(enum ledger_operation operation)
{
    static const char *const names[] = {"open",   "top_up",      "suspend",       "activate",
                                        "adjust", "revoke_link", "revoke_before", "limit"};
    return names[operation];
}

const char *post_plan_name(enum ledger_operation operation, enum ledger_plan plan)
{
    if (operation != LEDGER_OPEN)
        return "-";
    return plan == LEDGER_PREPAID ? "prepaid" : "postpaid";
}

/* The words of a command, on the stack of post_send, so that pointers to them hold until
 * it is sent. */
struct words {
    char keys[3][LEDGER_KEY_MAX];
    char links[2 * POST_FILES_MAX][LEDGER_KEY_MAX]; /* each followed by its grants */
    size_t links_count;
    char numbers[6][24];
    char files[POST_FILES_MAX][2][24];
    char terms[POST_FILES_MAX][80];
};

/* The index of the file's link among the keys, from 1; a link that is not a key yet becomes one. */
static size_t link_index(const struct post *post, const struct post_file *file, struct words *words)
{
    char key[LEDGER_KEY_MAX];
    ledger_link_key(key, post->account, file->link, "");
    size_t at = 0;
    while (at < words->links_count && strcmp(words->links[at], key) != 0)
        at += 2;
    if (at == words->links_count) {
        memcpy(words->links[at], key, sizeof(key));
        ledger_link_key(words->links[at + 1], post->account, file->link, ":grants");
        words->links_count += 2;
    }
    return 3 + at + 1;
}

static void add_terms(const struct post *post, size_t index, struct words *words)
{
    const struct post_file *file = &post->files[index];
    words->terms[index][0] = '\0';
    if (file->opened_ms != 0)
        snprintf(words->terms[index], sizeof(words->terms[index]),
                 "%zu %" PRIu64 " %" PRIu64 " %" PRIu64 " %d", link_index(post, file, words),
                 file->opened_ms, (uint64_t)file->till_s * 1000, (uint64_t)file->keep_s * 1000,
                 file->taken ? 1 : 0);
}

static void add_money(const struct journal_record *money, struct words *words,
                      struct redis_arguments *arguments)
{
    snprintf(words->numbers[2], sizeof(words->numbers[2]), "%" PRId64, money->amount);
    snprintf(words->numbers[3], sizeof(words->numbers[3]), "%" PRIu64, money->time_ms);
    snprintf(words->numbers[4], sizeof(words->numbers[4]), "%" PRIu64, money->max_bytes);
    snprintf(words->numbers[5], sizeof(words->numbers[5]), "%" PRIu32, money->max_conns);
    redis_add(arguments, post_operation_name(money->operation));
    redis_add(arguments, words->numbers[2]);
    redis_add(arguments, post_plan_name(money->operation, money->plan));
    redis_add(arguments, words->numbers[3]);
    redis_add(arguments, money->operation == LEDGER_REVOKE_LINK ? "" : money->transaction);
    redis_add(arguments, words->numbers[4]);
    redis_add(arguments, words->numbers[5]);
}

static void add_files(const struct post *post, struct words *words,
                      struct redis_arguments *arguments)
{
    for (size_t i = 0; i < post->files_count; i++) {
        const struct post_file *file = &post->files[i];
        char *bytes = words->files[i][0], *responses = words->files[i][1];
        snprintf(bytes, sizeof(words->files[i][0]), "%" PRIu64, file->bytes);
        snprintf(responses, sizeof(words->files[i][1]), "%" PRIu64, file->responses);
        redis_add_bytes(arguments, file->file->name.text, file->file->name.length);
        redis_add(arguments, bytes);
        redis_add(arguments, responses);
        redis_add(arguments, words->terms[i]);
    }
}

int post_send(const struct post *post, const struct ledger *ledger, struct redis_link *link)
{
    struct words words;
    struct redis_arguments arguments;
    char count[24];
    words.links_count = 0;
    ledger_key(words.keys[0], post->account, "account");
    ledger_key(words.keys[1], post->account, "grants");
    if (post->is_money)
        ledger_key(words.keys[2], post->account, "transactions");
    else
        ledger_usage_key(words.keys[2], post->account, post->day);
    for (size_t i = 0; i < post->files_count; i++)
        add_terms(post, i, &words);
    if (post->is_money && post->money.operation == LEDGER_REVOKE_LINK) /* the link is in hex */
        snprintf(words.links[words.links_count++], sizeof(words.links[0]), "tg:{%s}:link:%s",
                 post->account->tag, post->money.transaction);
    snprintf(count, sizeof(count), "%zu", 3 + words.links_count);
    snprintf(words.numbers[0], sizeof(words.numbers[0]), "%" PRIu64, post->from);
    snprintf(words.numbers[1], sizeof(words.numbers[1]), "%" PRIu64, post->to);
    const char *const head[] = {"FCALL",       "tollgate_post", count,
                                words.keys[0], words.keys[1],   words.keys[2]};
    arguments.count = 0;
    for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++)
        redis_add(&arguments, head[i]);
    for (size_t i = 0; i < words.links_count; i++)
        redis_add(&arguments, words.links[i]);
    const char *const rest[] = {ledger->instance, ledger->options.node,
                                post->epoch,      words.numbers[0],
                                words.numbers[1], post->is_money ? "money" : "usage"};
    for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
        redis_add(&arguments, rest[i]);
    if (post->is_money)
        add_money(&post->money, &words, &arguments);
    else
        add_files(post, &words, &arguments);
    return redis_send(link, &arguments);
}
