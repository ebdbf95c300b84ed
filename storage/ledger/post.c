/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathers records into posts and turns a post into a command. Only the poster's thread calls
 * it. Sums are exact: a post carries the sum of the journal's differences, per account, day
 * and file.
 */
#include "storage/ledger/post.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/keys.h"

static void post_free(struct post *post)
{
    for (size_t i = 0; i < post->files_count; i++)
        names_drop(&post->files[i].file->name);
    free(post->files);
    free(post->money);
    free(post);
}

/* Makes a post, the account's last; with a copy of the record where it is an operation. */
static struct post *new_post(const struct journal_entry *entry)
{
    struct ledger_account *account = entry->account;
    struct post *post = calloc(1, sizeof(*post));
    if (post == NULL)
        return NULL;
    if (entry->record.type == JOURNAL_MONEY) {
        post->money = malloc(sizeof(*post->money));
        if (post->money == NULL) {
            free(post);
            return NULL;
        }
        *post->money = entry->record;
    }
    post->account = account;
    post->from = post->to = entry->record.sequence;
    if (account->posts == NULL)
        account->posts = post;
    else
        account->posts_last->next = post;
    account->posts_last = post;
    return post;
}

/* Whether the entry belongs to the file of the post: the same file and, for a link with terms, the
 * same use. */
static bool is_of(const struct post_file *file, const struct journal_entry *entry)
{
    return file->file == entry->file && file->opened_ms == entry->record.opened_ms &&
           (file->opened_ms == 0 ||
            memcmp(file->link_id, entry->record.link_id, sizeof(file->link_id)) == 0);
}

static int add_file(struct post *post, const struct journal_entry *entry, size_t *added)
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
        memcpy(at->link_id, entry->record.link_id, sizeof(at->link_id));
        names_hold(&entry->file->name);
        *added = 1;
    }
    at->bytes += entry->record.bytes_delta;
    at->responses += entry->record.responses_delta;
    at->taken = at->taken || entry->record.taken;
    return 0;
}

int post_add(const struct journal_entry *entry, size_t *added)
{
    const struct journal_record *record = &entry->record;
    struct ledger_account *account = entry->account;
    struct post *run = account->run;
    uint32_t day = journal_day(record->time_ms);
    bool is_money = record->type == JOURNAL_MONEY;
    bool goes_on = run != NULL && !is_money && run->day == day && run->files_count < POST_FILES_MAX;
    *added = 0;
    if (goes_on) {
        check(record->sequence == run->to + 1);
        run->to = record->sequence;
        return add_file(run, entry, added);
    }
    struct post *post = new_post(entry);
    if (post == NULL)
        return -ENOMEM;
    post->day = day;
    account->run = is_money ? NULL : post;
    *added = 1;
    return is_money ? 0 : add_file(post, entry, added);
}

/* Keeps room for `more` posts. 0 or -ENOMEM. */
static int keep_room(struct post_batch *batch, size_t more)
{
    size_t room = batch->room == 0 ? 256 : batch->room;
    while (room < batch->count + more)
        room *= 2;
    if (room == batch->room)
        return 0;
    struct post **posts = realloc(batch->posts, room * sizeof(struct post *));
    if (posts == NULL)
        return -ENOMEM;
    batch->posts = posts;
    batch->room = room;
    return 0;
}

int post_batch_take(struct post_batch *batch, struct ledger_account *account, size_t *count)
{
    size_t posts = 0;
    for (const struct post *post = account->posts; post != NULL; post = post->next)
        posts++;
    if (keep_room(batch, posts) != 0)
        return -ENOMEM;
    for (struct post *post = account->posts; post != NULL; post = post->next) {
        *count -= post->money != NULL ? 1 : post->files_count;
        batch->posts[batch->count++] = post;
    }
    account->posts = account->posts_last = account->run = NULL;
    return 0;
}

size_t post_count(const struct ledger_account *account)
{
    size_t count = 0;
    for (const struct post *post = account->posts; post != NULL; post = post->next)
        count += post->money != NULL ? 1 : post->files_count;
    return count;
}

void post_drop(struct ledger_account *account)
{
    while (account->posts != NULL) {
        struct post *next = account->posts->next;
        post_free(account->posts);
        account->posts = next;
    }
    account->posts_last = account->run = NULL;
}

void post_batch_clear(struct post_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        post_free(batch->posts[i]);
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

enum {
    POST_KEYS = LEDGER_COUNT(LEDGER_POST_KEYS),
    USAGE_KEYS = POST_KEYS + LEDGER_COUNT(LEDGER_POST_USAGE_KEYS),
    MONEY_KEYS = POST_KEYS + LEDGER_TRANSACTION_KEYS_COUNT
};
_Static_assert((LEDGER_TRANSACTION_KEYS_COUNT - 1) * LEDGER_TRANSACTION_PERIOD >=
                   LEDGER_TRANSACTION_DAYS_KEPT,
               "a hash of the ring would be written again before it has ended");

/* The words of a command, on the stack of post_send, so that pointers to them hold until
 * it is sent. */
struct words {
    char keys[MONEY_KEYS][LEDGER_KEY_MAX];          /* of usage they are fewer */
    char links[2 * POST_FILES_MAX][LEDGER_KEY_MAX]; /* each followed by its grants */
    size_t links_count;
    char numbers[8][24], count[24];
    char files[POST_FILES_MAX][2][24];
    char terms[POST_FILES_MAX][80];
};

/* The index of the file's link among the keys, from 1; a link that is not a key yet becomes one. */
static size_t link_index(const struct post *post, const struct post_file *file, struct words *words)
{
    char key[LEDGER_KEY_MAX];
    ledger_link_key(key, post->account, file->link_id, "");
    size_t at = 0;
    while (at < words->links_count && strcmp(words->links[at], key) != 0)
        at += 2;
    if (at == words->links_count) {
        memcpy(words->links[at], key, sizeof(key));
        ledger_link_key(words->links[at + 1], post->account, file->link_id, ":grants");
        words->links_count += 2;
    }
    return USAGE_KEYS + at + 1;
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

/* Adds the arguments of a list: each is a variable of that name, or two where it is of bytes. */
#define ADD(name, type) ADD_##type(name)
#define ADD_text(name)  redis_add(arguments, name);
#define ADD_bytes(name) redis_add_bytes(arguments, name, name##_length);

/* `by`: who took it where the record does not say, which is of an older format. */
static void add_money(const struct journal_record *money, const char *by, struct words *words,
                      struct redis_arguments *arguments)
{
    char *amount = words->numbers[2], *time_ms = words->numbers[3];
    char *max_bytes = words->numbers[4], *max_conns = words->numbers[5];
    char *number = words->numbers[7];
    snprintf(amount, sizeof(words->numbers[0]), "%" PRId64, money->amount);
    snprintf(time_ms, sizeof(words->numbers[0]), "%" PRIu64, money->time_ms);
    snprintf(max_bytes, sizeof(words->numbers[0]), "%" PRIu64, money->max_bytes);
    snprintf(max_conns, sizeof(words->numbers[0]), "%" PRIu32, money->max_conns);
    snprintf(number, sizeof(words->numbers[0]), "%" PRIu64, money->operation_number);
    const char *operation = post_operation_name(money->operation);
    const char *plan = post_plan_name(money->operation, money->plan);
    const char *transaction = money->operation == LEDGER_REVOKE_LINK ? "" : money->transaction;
    if (money->node[0] != '\0')
        by = money->node;
    LEDGER_MONEY_ARGUMENTS(ADD)
}

static void add_files(const struct post *post, struct words *words,
                      struct redis_arguments *arguments)
{
    char *date = words->numbers[2];
    snprintf(date, sizeof(words->numbers[2]), "%08" PRIu32, post->day);
    LEDGER_POST_USAGE_ARGUMENTS(ADD)
    for (size_t i = 0; i < post->files_count; i++) {
        const struct post_file *of = &post->files[i];
        const char *file = of->file->name.text, *terms = words->terms[i];
        size_t file_length = of->file->name.length;
        char *bytes = words->files[i][0], *responses = words->files[i][1];
        snprintf(bytes, sizeof(words->files[i][0]), "%" PRIu64, of->bytes);
        snprintf(responses, sizeof(words->files[i][1]), "%" PRIu64, of->responses);
        LEDGER_FILE_ARGUMENTS(ADD)
    }
}

/* Adds the function with its keys and the arguments that each kind of post begins with. */
static void add_head(const struct post *post, const struct ledger *ledger, struct words *words,
                     struct redis_arguments *arguments)
{
    const char *instance = ledger->instance;
    bool is_money = post->money != NULL;
    const char *kind = is_money ? "money" : "usage";
    char *account = words->keys[0], *grants = words->keys[1];
    size_t keys = is_money ? MONEY_KEYS : USAGE_KEYS;
    char *from = words->numbers[0], *to = words->numbers[1], *lease = words->numbers[6];
    ledger_key(account, post->account, "account");
    ledger_key(grants, post->account, "grants");
    if (is_money) {
        ledger_transaction_keys(words->keys + POST_KEYS, post->account);
    } else {
        ledger_usage_key(words->keys[POST_KEYS], post->account, post->day);
        ledger_usage_key(words->keys[POST_KEYS + 1], post->account, post->day / 100);
    }
    snprintf(words->count, sizeof(words->count), "%zu", keys + words->links_count);
    snprintf(from, sizeof(words->numbers[0]), "%" PRIu64, post->from);
    snprintf(to, sizeof(words->numbers[1]), "%" PRIu64, post->to);
    snprintf(lease, sizeof(words->numbers[6]), "%" PRIu64, ledger_lease_number(ledger));
    arguments->count = 0;
    redis_add(arguments, "FCALL");
    redis_add(arguments, "tollgate_post");
    redis_add(arguments, words->count);
    for (size_t i = 0; i < keys; i++)
        redis_add(arguments, words->keys[i]);
    for (size_t i = 0; i < words->links_count; i++)
        redis_add(arguments, words->links[i]);
    LEDGER_POST_ARGUMENTS(ADD)
}

int post_send(const struct post *post, const struct ledger *ledger,
              const struct ledger_redis *redis, ledger_redis_done *done, void *context)
{
    struct words words;
    struct redis_arguments arguments;
    words.links_count = 0;
    for (size_t i = 0; i < post->files_count; i++)
        add_terms(post, i, &words);
    if (post->money != NULL &&
        post->money->operation == LEDGER_REVOKE_LINK) /* the link is in hex */
        snprintf(words.links[words.links_count++], sizeof(words.links[0]), "tg:{%s}:link:%s",
                 post->account->tag, post->money->transaction);
    add_head(post, ledger, &words, &arguments);
    if (post->money != NULL)
        add_money(post->money, ledger->options.node, &words, &arguments);
    else
        add_files(post, &words, &arguments);
    return redis->send(redis->self, arguments.count, arguments.text, arguments.lengths, done, NULL,
                       context);
}
