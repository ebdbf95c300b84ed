/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's side of the access log. LINK and ANSWER begin an entry and tell it the
 * answer, metering.c's deliveries hold it, and when the last holder drops it, its line is queued.
 * These functions never wait, and do nothing where the log is off.
 */
#include <stdlib.h>
#include <string.h>

#include "server/access_log/access_log.h"
#include "server/base/check.h"
#include "server/delivery/connection.h"
#include "server/link/token_cache.h"

#define TEXT_MAX 2048 /* bytes of each text; a longer one is cut */

struct access_entry {
    unsigned references;
    uint64_t began_ms;         /* monotonic */
    struct access_facts facts; /* its texts follow */
};
_Static_assert(sizeof(struct access_entry) ==
                   offsetof(struct access_entry, facts) + sizeof(struct access_facts),
               "the texts follow both");
_Static_assert(ACCESS_DOWNLOAD_SIZE == LEDGER_DOWNLOAD_TEXT, "as the ledger spells a download");

static uint16_t cut(size_t length)
{
    return (uint16_t)(length < TEXT_MAX ? length : TEXT_MAX);
}

static struct http_text text_of(const char *text)
{
    return (struct http_text){text, strlen(text)};
}

static void collect(const struct connection *connection, const struct http_head *head,
                    const struct token_request *wanted, struct http_text texts[ACCESS_TEXTS])
{
    const struct token_entry *link = connection->exchange.link;
    const struct token *token = link != NULL ? link->token : NULL;
    if (head != NULL) {
        texts[ACCESS_METHOD] = head->method_text;
        texts[ACCESS_RANGE] = head->range;
        texts[ACCESS_AGENT] = head->user_agent;
        texts[ACCESS_REFERER] = head->referer;
    }
    if (wanted != NULL && wanted->uri != NULL)
        texts[ACCESS_PATH] = (struct http_text){wanted->uri, wanted->uri_length};
    if (token != NULL) {
        texts[ACCESS_ISSUER] = text_of(token->issuer_id);
        texts[ACCESS_KID] = text_of(token->kid);
        texts[ACCESS_JTI] = text_of(token->jti);
        texts[ACCESS_ACCOUNT] = text_of(token->account);
    }
    if (connection->stream.tls != NULL)
        texts[ACCESS_TLS] = text_of(stream_tls_version(&connection->stream));
}

void access_begin(struct worker *worker, struct connection *connection,
                  const struct http_head *head, const struct token_request *wanted)
{
    struct http_text texts[ACCESS_TEXTS] = {0};
    size_t size = 0;
    if (worker->node->access_log == NULL || connection->exchange.access != NULL ||
        connection->inquiry != NULL)
        return;
    collect(connection, head, wanted, texts);
    for (unsigned i = 0; i < ACCESS_TEXTS; i++)
        size += cut(texts[i].length);
    struct access_entry *entry = malloc(sizeof(*entry) + size);
    if (entry == NULL)
        return; /* the response goes on without a line: the download matters more */
    *entry = (struct access_entry){
        .references = 1,
        .began_ms = worker->now_ms,
        .facts = {.size = (uint32_t)(sizeof(struct access_facts) + size),
                  .minor = head != NULL ? (uint8_t)head->minor : 1,
                  .began_s = worker->now_s,
                  .began_ms = worker->now_fraction_ms,
                  .client = connection->client},
    };
    char *at = access_facts_text(&entry->facts);
    for (unsigned i = 0; i < ACCESS_TEXTS; i++) {
        entry->facts.length[i] = cut(texts[i].length);
        if (texts[i].length > 0)
            memcpy(at, texts[i].data, entry->facts.length[i]);
        at += entry->facts.length[i];
    }
    connection->exchange.access = entry;
}

void access_refused(struct connection *connection, enum refusal refusal)
{
    if (connection->exchange.access != NULL)
        connection->exchange.access->facts.refusal = refusal;
}

void access_answered(struct worker *worker, struct connection *connection)
{
    struct access_entry *entry = connection->exchange.access;
    if (entry == NULL)
        return;
    entry->facts.status = connection->exchange.status;
    entry->facts.wait_ms = (uint32_t)(worker->now_ms - entry->began_ms);
}

struct access_entry *access_hold(const struct exchange *exchange, uint64_t download)
{
    struct access_entry *entry = exchange->access;
    if (entry == NULL)
        return NULL;
    ledger_download_write(download, entry->facts.download);
    entry->references++;
    return entry;
}

void access_settled(struct worker *worker, struct access_entry **entry, uint64_t handed,
                    uint64_t acknowledged)
{
    if (*entry == NULL)
        return;
    (*entry)->facts.handed += handed;
    (*entry)->facts.acknowledged += acknowledged;
    access_drop(worker, entry);
}

void access_drop(struct worker *worker, struct access_entry **dropped)
{
    struct access_entry *entry = *dropped;
    *dropped = NULL;
    if (entry == NULL || --entry->references > 0)
        return;
    entry->facts.total_ms = (uint32_t)(worker->now_ms - entry->began_ms);
    (void)access_log_put(worker->node->access_log, worker->index, &entry->facts);
    free(entry);
}
