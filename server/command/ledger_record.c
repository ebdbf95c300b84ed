/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a record of the journal into words, and into JSON. See ledger_record.h.
 */
#include "server/command/ledger_record.h"

#include <inttypes.h>
#include <string.h>

#include "server/base/client_address.h"
#include "server/command/command_admin.h"
#include "storage/ledger/ledger_names.h"

#define TIME_SIZE   40
#define CLIENT_SIZE (CLIENT_ADDRESS_TEXT + 8)
#define HEX_SIZE    (2 * LEDGER_LINK_ID_BYTES + 1)
#define TEXT_SIZE   (4 * LEDGER_FILE_MAX + 1)

const char *ledger_record_type(enum journal_type type)
{
    static const char *const names[] = {"nothing", "segment", "start", "name",
                                        "usage",   "money",   "stop",  "response"};
    return names[type];
}

/* ---- values ---- */

static void write_time(uint64_t ms, char out[static TIME_SIZE])
{
    char seconds[COMMAND_TIME_SIZE];
    command_write_time((int64_t)(ms / 1000), seconds);
    size_t length = strlen(seconds);
    bool is_date = length > 0 && seconds[length - 1] == 'Z';
    snprintf(out, TIME_SIZE, "%.*s.%03u%s", (int)(is_date ? length - 1 : length), seconds,
             (unsigned)(ms % 1000), is_date ? "Z" : "");
}

/* True where the bytes are not all zero, that is, where they are known. */
static bool write_hex(const uint8_t *bytes, size_t count, char out[static HEX_SIZE])
{
    bool is_known = false;
    for (size_t i = 0; i < count; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
        is_known = is_known || bytes[i] != 0;
    }
    return is_known;
}

/* The address as the journal keeps it: whole, or a prefix. False: it keeps none. */
static bool write_client(const struct journal_response *response, char out[static CLIENT_SIZE])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char text[CLIENT_ADDRESS_TEXT];
    struct client_address address = {.port = 0};
    if (response->client_bits == 0)
        return false;
    memcpy(address.ip, response->client, sizeof(address.ip));
    client_address_write(&address, text);
    unsigned bits = response->client_bits;
    bool is_v4 = memcmp(address.ip, mapped, sizeof(mapped)) == 0 && bits >= 96;
    if (bits == 128)
        snprintf(out, CLIENT_SIZE, "%s", text);
    else
        snprintf(out, CLIENT_SIZE, "%s/%u", text, is_v4 ? bits - 96 : bits);
    return true;
}

static size_t places_of(enum journal_type type)
{
    return type == JOURNAL_USAGE ? 1 : type == JOURNAL_RESPONSE ? JOURNAL_RESPONSES : 0;
}

/* ---- text ---- */

static void print_name(FILE *out, const char *word, const char *text)
{
    if (text == NULL)
        return;
    fprintf(out, " %s ", word);
    command_print_text(out, text);
}

static void print_number(FILE *out, const char *word, uint64_t number)
{
    if (number != 0)
        fprintf(out, " %s %" PRIu64, word, number);
}

/* A download as the access log spells it; as a number where it has no such spelling (formats 1 and 2). */
static void write_download(uint64_t download, char out[static LEDGER_DOWNLOAD_TEXT])
{
    ledger_download_write(download, out);
    if (out[0] == '\0')
        snprintf(out, LEDGER_DOWNLOAD_TEXT, "%" PRIu64, download);
}

static void print_usage(FILE *out, const struct journal_record *record)
{
    char hex[HEX_SIZE], time[TIME_SIZE], download[LEDGER_DOWNLOAD_TEXT];
    write_download(record->download, download);
    fprintf(out,
            " sequence %" PRIu64 " bytes +%" PRIu64 " (%" PRIu64 ") responses +%" PRIu64
            " (%" PRIu64 ") download %s",
            record->sequence, record->bytes_delta, record->bytes, record->responses_delta,
            record->responses, download);
    if (write_hex(record->link_id, sizeof(record->link_id), hex))
        fprintf(out, " link %s", hex);
    if (record->opened_ms != 0) {
        write_time(record->opened_ms, time);
        fprintf(out, " use-opened %s", time);
    }
    print_number(out, "lease", record->lease);
    print_number(out, "price", record->price);
    print_number(out, "cap", record->cap);
    print_number(out, "charge", record->charge);
    print_number(out, "undescribed", record->undescribed);
    if (record->taken)
        fputs(" taken", out);
    if (record->closing)
        fputs(" closed", out);
}

static void print_money(FILE *out, const struct ledger_walk_record *shown)
{
    const struct journal_record *record = shown->record;
    fprintf(out, " sequence %" PRIu64 " %s", record->sequence, shown->operation);
    if (strcmp(shown->plan, "-") != 0)
        fprintf(out, " plan %s", shown->plan);
    fprintf(out, " amount %" PRId64, record->amount);
    print_number(out, "max-bytes", record->max_bytes);
    print_number(out, "max-conns", record->max_conns);
    if (record->transaction[0] != '\0')
        print_name(out, record->operation == LEDGER_REVOKE_LINK ? "link" : "transaction",
                   record->transaction);
    print_number(out, "number", record->operation_number);
    print_number(out, "lease", record->lease);
    if (record->node[0] != '\0')
        print_name(out, "node", record->node);
}

static void print_response(FILE *out, const struct journal_response *response, const char *key,
                           bool with_client)
{
    char time[TIME_SIZE], client[CLIENT_SIZE];
    write_time(response->started_ms, time);
    fprintf(out, "    response began %s, %" PRIu64 " bytes from byte %" PRIu64, time,
            response->length, response->first);
    if (response->tls != 0)
        fprintf(out, ", TLS 1.%u", response->tls - 10u);
    print_name(out, ", key", key);
    if (with_client && write_client(response, client))
        fprintf(out, ", client %s", client);
    fputs(response->proxied ? ", by a proxy\n" : "\n", out);
}

void ledger_record_print(FILE *out, const char *lane, const struct ledger_walk_record *shown,
                         bool with_clients)
{
    const struct journal_record *record = shown->record;
    char time[TIME_SIZE], hex[HEX_SIZE], download[LEDGER_DOWNLOAD_TEXT];
    write_download(record->download, download);
    write_time(record->time_ms, time);
    fprintf(out, "%s %" PRIu32 ":%" PRIu64 " %s %s", lane, shown->segment, shown->position, time,
            ledger_record_type(record->type));
    print_name(out, "account", shown->account);
    print_name(out, "file", shown->file);
    if (record->type == JOURNAL_USAGE)
        print_usage(out, record);
    else if (record->type == JOURNAL_MONEY)
        print_money(out, shown);
    else if (record->type == JOURNAL_RESPONSE)
        fprintf(out, " download %s", download);
    else if (record->type == JOURNAL_NAME)
        fprintf(out, " id %" PRIu32 " part %" PRIu32, record->id, record->part);
    else if (record->type == JOURNAL_SEGMENT)
        fprintf(out, " format %" PRIu32, record->format);
    if ((record->type == JOURNAL_START || record->type == JOURNAL_SEGMENT) &&
        write_hex(record->instance, sizeof(record->instance), hex)) {
        fprintf(out, " instance %s", hex);
        print_number(out, "lease", record->lease);
    }
    fputc('\n', out);
    for (size_t i = 0; i < places_of(record->type); i++)
        if (record->response[i].used)
            print_response(out, &record->response[i], shown->keys[i], with_clients);
}

/* ---- JSON ---- */

/* A path need not be UTF-8: other bytes, and the backslash then, are written as \xHH. */
static json_t *text_json(const char *text)
{
    char escaped[TEXT_SIZE];
    size_t length = 0;
    json_t *value = json_string(text);
    if (value != NULL)
        return value;
    for (const char *at = text; *at != '\0' && length + 5 < sizeof(escaped); at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte < 0x20 || byte >= 0x7f || byte == '\\')
            length += (size_t)snprintf(escaped + length, 5, "\\x%02X", byte);
        else
            escaped[length++] = (char)byte;
    }
    return json_stringn(escaped, length);
}

static void set_text(json_t *out, const char *name, const char *text)
{
    if (text != NULL && text[0] != '\0')
        (void)json_object_set_new(out, name, text_json(text));
}

static void set_number(json_t *out, const char *name, uint64_t number)
{
    (void)json_object_set_new(out, name, json_integer((json_int_t)number));
}

static void set_known(json_t *out, const char *name, uint64_t number)
{
    if (number != 0)
        set_number(out, name, number);
}

static void set_time(json_t *out, const char *name, uint64_t ms)
{
    char time[TIME_SIZE];
    write_time(ms, time);
    if (ms != 0)
        set_text(out, name, time);
}

static void set_hex(json_t *out, const char *name, const uint8_t *bytes, size_t count)
{
    char hex[HEX_SIZE];
    if (write_hex(bytes, count, hex))
        set_text(out, name, hex);
}

static json_t *responses_json(const struct ledger_walk_record *shown)
{
    json_t *out = json_array();
    char client[CLIENT_SIZE];
    for (size_t i = 0; i < places_of(shown->record->type); i++) {
        const struct journal_response *response = &shown->record->response[i];
        if (!response->used)
            continue;
        json_t *row =
            json_pack("{s:I, s:I, s:b}", "first_byte", (json_int_t)response->first, "bytes",
                      (json_int_t)response->length, "proxied", response->proxied);
        set_time(row, "began", response->started_ms);
        set_known(row, "tls", response->tls);
        set_text(row, "key", shown->keys[i]);
        if (write_client(response, client))
            set_text(row, "client", client);
        (void)json_array_append_new(out, row);
    }
    return out;
}

static void set_download(json_t *out, uint64_t download)
{
    char text[LEDGER_DOWNLOAD_TEXT];
    write_download(download, text);
    (void)json_object_set_new(out, "download", json_string(text));
}

static void set_usage(json_t *out, const struct journal_record *record)
{
    set_number(out, "sequence", record->sequence);
    set_download(out, record->download);
    set_number(out, "bytes", record->bytes_delta);
    set_number(out, "bytes_in_all", record->bytes);
    set_number(out, "responses", record->responses_delta);
    set_number(out, "responses_in_all", record->responses);
    set_hex(out, "link", record->link_id, sizeof(record->link_id));
    set_time(out, "use_opened", record->opened_ms);
    set_time(out, "use_until", (uint64_t)record->till_s * 1000);
    set_time(out, "link_kept_until", (uint64_t)record->keep_s * 1000);
    set_known(out, "price", record->price);
    set_known(out, "cap", record->cap);
    set_known(out, "charge", record->charge);
    set_hex(out, "content", record->content, sizeof(record->content));
    set_known(out, "file_bytes", record->size);
    set_known(out, "undescribed", record->undescribed);
    (void)json_object_set_new(out, "taken", json_boolean(record->taken));
    (void)json_object_set_new(out, "closed", json_boolean(record->closing));
}

static void set_money(json_t *out, const struct ledger_walk_record *shown)
{
    const struct journal_record *record = shown->record;
    set_number(out, "sequence", record->sequence);
    set_text(out, "operation", shown->operation);
    if (strcmp(shown->plan, "-") != 0)
        set_text(out, "plan", shown->plan);
    (void)json_object_set_new(out, "amount", json_integer(record->amount));
    set_known(out, "max_bytes", record->max_bytes);
    set_known(out, "max_conns", record->max_conns);
    set_text(out, record->operation == LEDGER_REVOKE_LINK ? "link" : "transaction",
             record->transaction);
    set_known(out, "number", record->operation_number);
    set_text(out, "node", record->node);
}

json_t *ledger_record_json(const char *lane, const struct ledger_walk_record *shown)
{
    const struct journal_record *record = shown->record;
    char chain[17];
    snprintf(chain, sizeof(chain), "%016" PRIx64, shown->chain);
    json_t *out = json_pack("{s:s, s:I, s:I, s:s, s:s}", "lane", lane, "segment",
                            (json_int_t)shown->segment, "position", (json_int_t)shown->position,
                            "chain", chain, "type", ledger_record_type(record->type));
    set_time(out, "time", record->time_ms);
    set_text(out, "account", shown->account);
    set_text(out, "file", shown->file);
    if (record->type == JOURNAL_USAGE)
        set_usage(out, record);
    else if (record->type == JOURNAL_MONEY)
        set_money(out, shown);
    else if (record->type == JOURNAL_RESPONSE)
        set_download(out, record->download);
    else if (record->type == JOURNAL_SEGMENT)
        set_number(out, "format", record->format);
    set_hex(out, "instance", record->instance, sizeof(record->instance));
    set_known(out, "lease", record->lease);
    if (places_of(record->type) > 0)
        (void)json_object_set_new(out, "described", responses_json(shown));
    return out;
}
