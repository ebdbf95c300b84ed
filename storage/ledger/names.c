/*
 * Interned names: the hash table, the reference counts, the percent-encoded tag. Called from
 * workers, the writer and the poster. Nothing here blocks on disk or network.
 */
#include "names.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

int names_init(struct names *names, uint32_t accounts_max, uint32_t files_hint)
{
    size_t wanted = ((size_t)accounts_max + files_hint) * 2, count = 1024;
    while (count < wanted && count < (size_t)1 << 22)
        count *= 2;
    memset(names, 0, sizeof *names);
    names->buckets = calloc(count, sizeof *names->buckets);
    if (names->buckets == NULL)
        return -ENOMEM;
    names->buckets_count = count;
    names->accounts_max = accounts_max;
    pthread_mutex_init(&names->lock, NULL);
    return 0;
}

struct ledger_account *names_account(struct ledger_name *name)
{
    assert(name->kind == JOURNAL_ACCOUNT);
    return (struct ledger_account *)((char *)name - offsetof(struct ledger_account, name));
}

static void name_free(struct ledger_name *name)
{
    if (name->kind == JOURNAL_ACCOUNT)
        free(names_account(name));
    else
        free(name);
}

void names_free(struct names *names)
{
    if (names->buckets == NULL)
        return;
    for (size_t i = 0; i < names->buckets_count; i++) {
        for (struct ledger_name *name = names->buckets[i]; name != NULL;) {
            struct ledger_name *next = name->next;
            name_free(name);
            name = next;
        }
    }
    free(names->buckets);
    names->buckets = NULL;
    pthread_mutex_destroy(&names->lock);
}

static struct ledger_name **bucket_of(struct names *names, enum journal_kind kind, const char *text,
                                      size_t length)
{
    uint64_t hash = XXH3_64bits_withSeed(text, length, kind);
    return &names->buckets[hash & (names->buckets_count - 1)];
}

static bool is_issuer_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

static bool is_issuer(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_issuer_byte(text[i]))
            return false;
    return length >= 1 && length <= LEDGER_ISSUER_MAX;
}

bool names_issuer_valid(const char *issuer)
{
    return is_issuer(issuer, strnlen(issuer, LEDGER_ISSUER_MAX + 1));
}

/* All but RFC 3986's unreserved characters is escaped, so no two names give one tag, and no brace
 * is in one. */
static char *percent_encode(char *out, const char *text, size_t length)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                     c == '.' || c == '_' || c == '~' || c == '-';
        if (plain) {
            *out++ = (char)c;
            continue;
        }
        *out++ = '%';
        *out++ = digits[c >> 4];
        *out++ = digits[c & 15];
    }
    return out;
}

/* The length of the issuer in "issuer/account", or 0 where the text is no such name. */
static size_t account_split(const char *text, size_t length)
{
    const char *slash = memchr(text, '/', length);
    size_t issuer = slash == NULL ? 0 : (size_t)(slash - text);
    if (!is_issuer(text, issuer))
        return 0;
    size_t account = length - issuer - 1;
    return account >= 1 && account <= LEDGER_ACCOUNT_MAX ? issuer : 0;
}

static struct ledger_name *account_new(const char *text, size_t length)
{
    size_t issuer = account_split(text, length);
    struct ledger_account *account = calloc(1, sizeof *account + length + 1);
    if (account == NULL)
        return NULL;
    memcpy(account->name.text, text, length);
    memcpy(account->issuer, text, issuer);
    memcpy(account->tag, text, issuer + 1);
    percent_encode(account->tag + issuer + 1, text + issuer + 1, length - issuer - 1);
    account->account = account->name.text + issuer + 1;
    return &account->name;
}

static bool name_valid(enum journal_kind kind, const char *text, size_t length)
{
    if (length == 0 || memchr(text, '\0', length) != NULL)
        return false;
    return kind == JOURNAL_ACCOUNT ? account_split(text, length) > 0 : length <= LEDGER_FILE_MAX;
}

static int name_add(struct names *names, enum journal_kind kind, const char *text, size_t length,
                    struct ledger_name **bucket, struct ledger_name **out)
{
    if (kind == JOURNAL_ACCOUNT && names->accounts >= names->accounts_max)
        return -ENOSPC;
    struct ledger_name *name = kind == JOURNAL_ACCOUNT
                                   ? account_new(text, length)
                                   : calloc(1, sizeof(struct ledger_file) + length + 1);
    if (name == NULL)
        return -ENOMEM;
    if (kind == JOURNAL_FILE)
        memcpy(name->text, text, length);
    else
        names->accounts++;
    name->kind = kind;
    name->length = (uint32_t)length;
    name->names = names;
    atomic_init(&name->references, 1);
    name->next = *bucket;
    *bucket = name;
    *out = name;
    return 0;
}

int names_get(struct names *names, enum journal_kind kind, const char *text, size_t length,
              struct ledger_name **out)
{
    if (!name_valid(kind, text, length))
        return -EINVAL;
    struct ledger_name **bucket = bucket_of(names, kind, text, length);
    pthread_mutex_lock(&names->lock);
    for (struct ledger_name *name = *bucket; name != NULL; name = name->next) {
        if (name->kind == kind && name->length == length && memcmp(name->text, text, length) == 0) {
            atomic_fetch_add_explicit(&name->references, 1, memory_order_relaxed);
            pthread_mutex_unlock(&names->lock);
            *out = name;
            return 0;
        }
    }
    int result = name_add(names, kind, text, length, bucket, out);
    pthread_mutex_unlock(&names->lock);
    return result;
}

/* Undoes percent_encode; 0 where that cannot have made it. */
static size_t percent_decode(const char *tag, size_t length, char *out, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t written = 0;
    for (size_t i = 0; i < length; i++) {
        char c = tag[i];
        if (c == '%') {
            const char *high = i + 2 < length ? strchr(digits, tag[i + 1]) : NULL;
            const char *low = i + 2 < length ? strchr(digits, tag[i + 2]) : NULL;
            if (high == NULL || low == NULL || tag[i + 1] == '\0' || tag[i + 2] == '\0')
                return 0;
            c = (char)((high - digits) * 16 + (low - digits));
            i += 2;
        }
        if (written == size)
            return 0;
        out[written++] = c;
    }
    return written;
}

struct ledger_account *names_find_tag(struct names *names, const char *tag, size_t tag_length)
{
    char text[LEDGER_ISSUER_MAX + 1 + LEDGER_ACCOUNT_MAX];
    size_t length = percent_decode(tag, tag_length, text, sizeof text);
    if (length == 0)
        return NULL;
    struct ledger_account *found = NULL;
    pthread_mutex_lock(&names->lock);
    struct ledger_name *name = *bucket_of(names, JOURNAL_ACCOUNT, text, length);
    for (; name != NULL && found == NULL; name = name->next) {
        if (name->kind != JOURNAL_ACCOUNT || name->length != length ||
            memcmp(name->text, text, length) != 0)
            continue;
        atomic_fetch_add_explicit(&name->references, 1, memory_order_relaxed);
        found = names_account(name);
    }
    pthread_mutex_unlock(&names->lock);
    return found;
}

void names_hold(struct ledger_name *name)
{
    uint32_t before = atomic_fetch_add_explicit(&name->references, 1, memory_order_relaxed);
    assert(before > 0);
}

static void name_unlink(struct names *names, struct ledger_name *name)
{
    struct ledger_name **at = bucket_of(names, name->kind, name->text, name->length);
    while (*at != name)
        at = &(*at)->next;
    *at = name->next;
    if (name->kind == JOURNAL_ACCOUNT)
        names->accounts--;
}

void names_drop(struct ledger_name *name)
{
    /* Only the last reference takes the lock, under which nobody can find the name again. */
    uint32_t references = atomic_load_explicit(&name->references, memory_order_relaxed);
    while (references > 1)
        if (atomic_compare_exchange_weak_explicit(&name->references, &references, references - 1,
                                                  memory_order_release, memory_order_relaxed))
            return;
    struct names *names = name->names;
    pthread_mutex_lock(&names->lock);
    references = atomic_fetch_sub_explicit(&name->references, 1, memory_order_acq_rel);
    assert(references > 0);
    bool last = references == 1 &&
                !(name->kind == JOURNAL_ACCOUNT && atomic_load(&names_account(name)->sequence) > 0);
    if (last)
        name_unlink(names, name);
    pthread_mutex_unlock(&names->lock);
    if (last)
        name_free(name);
}

void names_note(struct ledger_account *account, uint32_t segment, uint64_t sequence)
{
    if (account->tail_segment != segment) {
        pthread_mutex_lock(&account->name.names->lock);
        account->tail_segment = segment;
        account->tail_before = sequence - 1;
        pthread_mutex_unlock(&account->name.names->lock);
    }
    atomic_store_explicit(&account->sequence, sequence, memory_order_release);
}

struct ledger_account **names_with_records(struct names *names, size_t *count)
{
    *count = 0;
    pthread_mutex_lock(&names->lock);
    struct ledger_account **out =
        calloc((size_t)names->accounts + 1, sizeof(struct ledger_account *));
    for (size_t i = 0; out != NULL && i < names->buckets_count; i++)
        for (struct ledger_name *name = names->buckets[i]; name != NULL; name = name->next)
            if (name->kind == JOURNAL_ACCOUNT && atomic_load(&names_account(name)->sequence) > 0)
                out[(*count)++] = names_account(name);
    pthread_mutex_unlock(&names->lock);
    return out;
}
