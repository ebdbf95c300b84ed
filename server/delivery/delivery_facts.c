/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journal says of each response beside its bytes: when it began, with which byte of the
 * file, who asked for it, over which TLS, with a link that which key signed. Called by metering.c
 * where a delivery begins and where it is settled. It counts no bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/delivery/connection.h"
#include "server/delivery/delivery.h"
#include "server/link/token_cache.h"

#define PREFIX_BITS_4 (96 + 24) /* of an IPv4 address, which stands behind 96 other bits */
#define PREFIX_BITS_6 48

/* Copies as much of the client's address as journal_client allows. */
static void tell_client(const struct worker *worker, const struct connection *connection,
                        struct ledger_response *told)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    const unsigned char *ip = connection->client.ip;
    char choice = worker->node->config->journal_client[0];
    if (choice == 'n') /* none */
        return;
    unsigned bits = 8 * sizeof(told->client);
    if (choice == 'p') /* prefix */
        bits = memcmp(ip, mapped, sizeof(mapped)) == 0 ? PREFIX_BITS_4 : PREFIX_BITS_6;
    memcpy(told->client, ip, bits / 8);
    told->client_bits = (uint8_t)bits;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The file's entity tag is its content hash in hexadecimal, quoted; "" while it is not known. */
static void tell_content(const struct connection *connection, struct ledger_download *download)
{
    unsigned char hash[LEDGER_CONTENT_BYTES];
    const struct media_file *file = connection->exchange.file;
    if (file == NULL || file->etag[0] == '\0' || ledger_download_has_content(download))
        return;
    for (size_t i = 0; i < sizeof(hash); i++) {
        int high = hex_digit(file->etag[1 + 2 * i]);
        int low = high < 0 ? -1 : hex_digit(file->etag[2 + 2 * i]);
        if (low < 0)
            return;
        hash[i] = (unsigned char)(high << 4 | low);
    }
    ledger_download_content(download, hash);
}

void delivery_facts_begin(const struct worker *worker, const struct connection *connection,
                          struct delivery *delivery)
{
    struct ledger_response *told = &delivery->told;
    told->started_ms = (uint64_t)worker->now_s * 1000 + worker->now_fraction_ms;
    told->first = connection->exchange.offset;
    told->tls = stream_tls_number(&connection->stream);
    told->proxied = connection->forwards || connection->introduced;
    tell_client(worker, connection, told);
    if (connection->exchange.link != NULL && connection->exchange.link->key != NULL) {
        told->key = connection->exchange.link->key;
        ledger_key_hold(told->key);
    }
    tell_content(connection, delivery->use->download);
    ledger_download_begin(delivery->use->download);
}

void delivery_facts_end(struct delivery *delivery)
{
    struct ledger_response *told = &delivery->told;
    told->length += delivery->acknowledged;
    if (delivery->part) { /* the rest of its response follows it */
        check(delivery->next != NULL);
        struct ledger_response *rest = &delivery->next->told;
        rest->started_ms = told->started_ms;
        rest->first = told->first;
        rest->length += told->length;
    }
    ledger_download_end(delivery->use->download, delivery->part ? NULL : told);
    ledger_key_drop(&told->key);
}
