/*
 * Gathers records into posts and puts a post into words. Called by the poster's thread alone. Sums
 * are exact: what leaves here is the sum of the journal's differences, per account, epoch, day and
 * file.
 */
#include "post.h"
#include "keys.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
    struct post *post = calloc(1, sizeof *post);
    if (post == NULL)
        return NULL;
    post->account = entry->account;
    post->from = post->to = entry->record.sequence;
    batch->posts[batch->count++] = post;
    return post;
}

static int add_file(struct post *post, const struct journal_entry *entry)
{
    struct post_file *at = NULL;
    for (size_t i = 0; i < post->files_count && at == NULL; i++)
        if (post->files[i].file == entry->file)
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
        *at = (struct post_file){.file = entry->file};
        names_hold(&entry->file->name);
    }
    at->bytes += entry->record.bytes_delta;
    at->responses += entry->record.responses_delta;
    return 0;
}

int post_add(struct post_batch *batch, const struct journal_entry *entry,
             const uint8_t epoch[JOURNAL_ID_BYTES])
{
    const struct journal_record *record = &entry->record;
    struct ledger_account *account = entry->account;
    struct post *run = account->run;
    uint32_t day = day_of(record->time_ms);
    char hex[LEDGER_HEX_SIZE];
    for (size_t i = 0; i < JOURNAL_ID_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", epoch[i]);
    bool is_money = record->type == JOURNAL_MONEY;
    bool goes_on = run != NULL && !is_money && run->day == day && strcmp(run->epoch, hex) == 0 &&
                   run->files_count < POST_FILES_MAX;
    if (goes_on) {
        assert(record->sequence == run->to + 1);
        run->to = record->sequence;
        return add_file(run, entry);
    }
    struct post *post = new_post(batch, entry);
    if (post == NULL)
        return -ENOMEM;
    memcpy(post->epoch, hex, sizeof hex);
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
    memset(batch, 0, sizeof *batch);
}

const char *post_operation_name(enum ledger_operation operation)
{
    static const char *const names[] = {"open", "top_up", "suspend", "activate", "adjust"};
    return names[operation];
}

const char *post_plan_name(enum ledger_operation operation, enum ledger_plan plan)
{
    if (operation != LEDGER_OPEN)
        return "-";
    return plan == LEDGER_PREPAID ? "prepaid" : "postpaid";
}

int post_send(const struct post *post, const struct ledger *ledger, struct redis_link *link)
{
    char account[LEDGER_KEY_MAX], grants[LEDGER_KEY_MAX], third[LEDGER_KEY_MAX];
    char numbers[4 + 2 * POST_FILES_MAX][24];
    struct redis_arguments arguments;
    ledger_key(account, post->account, "account");
    ledger_key(grants, post->account, "grants");
    if (post->is_money)
        ledger_key(third, post->account, "transactions");
    else
        ledger_usage_key(third, post->account, post->day);
    snprintf(numbers[0], sizeof numbers[0], "%" PRIu64, post->from);
    snprintf(numbers[1], sizeof numbers[1], "%" PRIu64, post->to);
    const char *const words[] = {"FCALL",
                                 "tollgate_post",
                                 "3",
                                 account,
                                 grants,
                                 third,
                                 ledger->instance,
                                 ledger->options.node,
                                 post->epoch,
                                 numbers[0],
                                 numbers[1],
                                 post->is_money ? "money" : "usage"};
    arguments.count = 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        redis_add(&arguments, words[i]);
    if (post->is_money) {
        const struct journal_record *money = &post->money;
        snprintf(numbers[2], sizeof numbers[2], "%" PRId64, money->amount);
        snprintf(numbers[3], sizeof numbers[3], "%" PRIu64, money->time_ms);
        redis_add(&arguments, post_operation_name(money->operation));
        redis_add(&arguments, numbers[2]);
        redis_add(&arguments, post_plan_name(money->operation, money->plan));
        redis_add(&arguments, numbers[3]);
        redis_add(&arguments, money->transaction);
    }
    for (size_t i = 0; i < post->files_count; i++) {
        const struct post_file *file = &post->files[i];
        char *bytes = numbers[4 + 2 * i], *responses = numbers[5 + 2 * i];
        snprintf(bytes, sizeof numbers[0], "%" PRIu64, file->bytes);
        snprintf(responses, sizeof numbers[0], "%" PRIu64, file->responses);
        redis_add_bytes(&arguments, file->file->name.text, file->file->name.length);
        redis_add(&arguments, bytes);
        redis_add(&arguments, responses);
    }
    return redis_send(link, &arguments);
}
