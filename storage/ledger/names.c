/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interned names: the hash table, the reference counts, the percent-encoded tag. Workers, the writer, the
 * poster, the push thread and admin calls use it. Nothing here blocks on disk or network, and nothing
 * allocates under the lock.
 */
#include "storage/ledger/names_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/check.h"

int names_init(struct names *names, uint32_t accounts_max, uint32_t files_hint)
{
    size_t wanted = ((size_t)accounts_max + files_hint) * 2, count = 1024;
    while (count < wanted && count < (size_t)1 << 22)
        count *= 2;
    memset(names, 0, sizeof(*names));
    if (getrandom(names->secret, sizeof(names->secret), 0) != (ssize_t)sizeof(names->secret))
        return -EIO;
    names->buckets = calloc(count, sizeof(*names->buckets));
    if (names->buckets == NULL)
        return -ENOMEM;
    names->buckets_count = count;
    names->accounts_max = names->others_max = accounts_max;
    pthread_mutex_init(&names->lock, NULL);
    pthread_mutex_init(&names->walk, NULL);
    return 0;
}

struct ledger_account *names_account(struct ledger_name *name)
{
    check(name->kind == JOURNAL_ACCOUNT);
    return (struct ledger_account *)((char *)name - offsetof(struct ledger_account, name));
}

/* `kind` is name->kind; callers that know it pass it. */
void names_free_one(struct ledger_name *name, enum journal_kind kind)
{
    if (kind == JOURNAL_ACCOUNT)
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
            names_free_one(name, name->kind);
            name = next;
        }
    }
    for (size_t i = 0; i < NAMES_ISSUER_BUCKETS; i++) {
        for (struct names_issuer *issuer = names->issuers[i]; issuer != NULL;) {
            struct names_issuer *next = issuer->next;
            free(issuer);
            issuer = next;
        }
    }
    free(names->buckets);
    names->buckets = NULL;
    pthread_mutex_destroy(&names->lock);
    pthread_mutex_destroy(&names->walk);
}

static uint64_t hash_of(const struct names *names, const char *text, size_t length)
{
    return XXH3_64bits_withSecret(text, length, names->secret, sizeof(names->secret));
}

static struct ledger_name **bucket_of(struct names *names, const char *text, size_t length)
{
    return &names->buckets[hash_of(names, text, length) & (names->buckets_count - 1)];
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

/* Escapes all but the unreserved characters of RFC 3986 2.3, so that no two names give one tag and
 * no tag holds a brace. */
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

int names_tag_write(const char *issuer, const char *account, size_t account_length,
                    char out[LEDGER_TAG_MAX])
{
    size_t length = strnlen(issuer, LEDGER_ISSUER_MAX + 1);
    if (!is_issuer(issuer, length) || account_length < 1 || account_length > LEDGER_ACCOUNT_MAX ||
        memchr(account, '\0', account_length) != NULL)
        return -EINVAL;
    memcpy(out, issuer, length);
    out[length] = '/';
    *percent_encode(out + length + 1, account, account_length) = '\0';
    return 0;
}

size_t names_split(const char *text, size_t length)
{
    const char *slash = memchr(text, '/', length);
    size_t issuer = slash == NULL ? 0 : (size_t)(slash - text);
    if (!is_issuer(text, issuer))
        return 0;
    size_t account = length - issuer - 1;
    return account >= 1 && account <= LEDGER_ACCOUNT_MAX ? issuer : 0;
}

/* ---- issuers ---- */

static struct names_issuer **issuer_bucket(struct names *names, const char *id, size_t length)
{
    return &names->issuers[hash_of(names, id, length) % NAMES_ISSUER_BUCKETS];
}

static struct names_issuer *issuer_find(struct names *names, const char *id, size_t length)
{
    struct names_issuer *issuer = *issuer_bucket(names, id, length);
    while (issuer != NULL && (strncmp(issuer->id, id, length) != 0 || issuer->id[length] != '\0'))
        issuer = issuer->next;
    return issuer;
}

struct names_issuer *names_issuer_of(struct names *names, const char *id, size_t length)
{
    struct names_issuer *made = NULL;
    pthread_mutex_lock(&names->lock);
    struct names_issuer *issuer = issuer_find(names, id, length);
    pthread_mutex_unlock(&names->lock);
    if (issuer != NULL || (made = calloc(1, sizeof(*made))) == NULL)
        return issuer;
    memcpy(made->id, id, length);
    pthread_mutex_lock(&names->lock);
    issuer = issuer_find(names, id, length);
    if (issuer == NULL) {
        struct names_issuer **bucket = issuer_bucket(names, id, length);
        made->accounts_max = names->others_max;
        made->next = *bucket;
        *bucket = issuer = made;
        made = NULL;
    }
    pthread_mutex_unlock(&names->lock);
    free(made);
    return issuer;
}

int names_bound_issuer(struct names *names, const char *id, uint32_t accounts_max)
{
    names->others_max = 0;
    struct names_issuer *issuer = names_issuer_of(names, id, strlen(id));
    if (issuer == NULL)
        return -ENOMEM;
    issuer->accounts_max = accounts_max;
    return 0;
}

/* ---- names ---- */

static struct ledger_name *account_new(struct names *names, const char *text, size_t length)
{
    size_t issuer = names_split(text, length);
    struct ledger_account *account = calloc(1, sizeof(*account) + length + 1);
    if (account == NULL)
        return NULL;
    account->issuer = names_issuer_of(names, text, issuer);
    if (account->issuer == NULL) {
        free(account);
        return NULL;
    }
    account->name.text = (char *)(account + 1);
    memcpy(account->tag, text, issuer + 1);
    percent_encode(account->tag + issuer + 1, text + issuer + 1, length - issuer - 1);
    account->account = account->name.text + issuer + 1;
    return &account->name;
}

static struct ledger_name *file_new(size_t length)
{
    struct ledger_file *file = calloc(1, sizeof(*file) + length + 1);
    if (file == NULL)
        return NULL;
    file->name.text = (char *)(file + 1);
    return &file->name;
}

static struct ledger_name *name_new(struct names *names, enum journal_kind kind, const char *text,
                                    size_t length)
{
    struct ledger_name *name =
        kind == JOURNAL_ACCOUNT ? account_new(names, text, length) : file_new(length);
    if (name == NULL)
        return NULL;
    memcpy(name->text, text, length);
    name->kind = kind;
    name->length = (uint32_t)length;
    name->names = names;
    atomic_init(&name->references, 1);
    return name;
}

static bool name_valid(enum journal_kind kind, const char *text, size_t length)
{
    if (length == 0 || memchr(text, '\0', length) != NULL)
        return false;
    return kind == JOURNAL_ACCOUNT ? names_split(text, length) > 0 : length <= LEDGER_FILE_MAX;
}

/* The caller has the lock. Takes a reference; NULL where the bucket has no such name. */
static struct ledger_name *name_find(struct ledger_name *const *bucket, enum journal_kind kind,
                                     const char *text, size_t length)
{
    struct ledger_name *name = *bucket;
    while (name != NULL &&
           (name->kind != kind || name->length != length || memcmp(name->text, text, length) != 0))
        name = name->next;
    if (name != NULL)
        atomic_fetch_add_explicit(&name->references, 1, memory_order_relaxed);
    return name;
}

int names_get(struct names *names, enum journal_kind kind, const char *text, size_t length,
              struct ledger_name **out)
{
    if (!name_valid(kind, text, length))
        return -EINVAL;
    struct ledger_name **bucket = bucket_of(names, text, length);
    pthread_mutex_lock(&names->lock);
    struct ledger_name *name = name_find(bucket, kind, text, length);
    pthread_mutex_unlock(&names->lock);
    *out = name;
    if (name != NULL)
        return 0;
    struct ledger_name *made = name_new(names, kind, text, length);
    if (made == NULL)
        return -ENOMEM;
    pthread_mutex_lock(&names->lock);
    name = name_find(bucket, kind, text, length); /* another thread may have come first */
    if (name == NULL) {
        if (kind == JOURNAL_ACCOUNT)
            atomic_init(&names_account(made)->is_awake, names->base == 0);
        made->next = *bucket;
        *bucket = name = made;
    }
    pthread_mutex_unlock(&names->lock);
    if (name != made)
        names_free_one(made, kind);
    *out = name;
    return 0;
}

/* Undoes percent_encode; 0 where percent_encode cannot have made the tag. */
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
    size_t length = percent_decode(tag, tag_length, text, sizeof(text));
    return length == 0 ? NULL : names_find(names, text, length);
}

struct ledger_account *names_find(struct names *names, const char *text, size_t length)
{
    struct ledger_name **bucket = bucket_of(names, text, length);
    pthread_mutex_lock(&names->lock);
    struct ledger_name *name = name_find(bucket, JOURNAL_ACCOUNT, text, length);
    pthread_mutex_unlock(&names->lock);
    return name == NULL ? NULL : names_account(name);
}

void names_hold(struct ledger_name *name)
{
    uint32_t before = atomic_fetch_add_explicit(&name->references, 1, memory_order_relaxed);
    check(before > 0);
}

void names_take_out(struct names *names, struct ledger_name *name)
{
    struct ledger_name **at = bucket_of(names, name->text, name->length);
    while (*at != name)
        at = &(*at)->next;
    *at = name->next;
}

void names_drop(struct ledger_name *name)
{
    /*
     * Only the last reference takes the lock, under which no other thread can find the name again.
     */
    uint32_t references = atomic_load_explicit(&name->references, memory_order_relaxed);
    while (references > 1)
        if (atomic_compare_exchange_weak_explicit(&name->references, &references, references - 1,
                                                  memory_order_release, memory_order_relaxed))
            return;
    struct names *names = name->names;
    pthread_mutex_lock(&names->lock);
    references = atomic_fetch_sub_explicit(&name->references, 1, memory_order_acq_rel);
    check(references > 0);
    bool last = references == 1 &&
                !(name->kind == JOURNAL_ACCOUNT && atomic_load(&names_account(name)->sequence) > 0);
    check(!last || name->kind != JOURNAL_ACCOUNT || !names_account(name)->placed);
    if (last)
        names_take_out(names, name);
    pthread_mutex_unlock(&names->lock);
    if (last)
        names_free_one(name, name->kind);
}
