/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A download as JSON; see download_report.h. All members are always there, null for what the journal does not know.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/command/download_report.h"

static json_t *time_json(uint64_t time_ms)
{
    char text[DOWNLOAD_TIME_SIZE];
    download_write_time(time_ms, text);
    return json_string(text);
}

static json_t *hex_json(bool is_known, const unsigned char *bytes, size_t length)
{
    char text[DOWNLOAD_HEX_SIZE];
    download_write_hex(bytes, length, text);
    return is_known ? json_string(text) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *number_or_null(uint64_t number)
{
    return number > 0 ? json_integer((json_int_t)number) : json_null();
}

static json_t *name_json(const char *bytes)
{
    bool encoded;
    char *text = download_name(bytes != NULL ? bytes : "", &encoded);
    json_t *value = bytes == NULL ? json_null() : text != NULL ? json_string(text) : NULL;
    free(text);
    return value;
}

static json_t *response_json(const struct ledger_evidence_response *response)
{
    char client[DOWNLOAD_CLIENT_SIZE];
    download_write_client(response, client);
    return json_pack("{s:o, s:o, s:o, s:s, s:b, s:o, s:I, s:I, s:o}", "started",
                     time_json(response->started_ms), "ended_by", time_json(response->told_ms),
                     "client", text_or_null(client), "client_kept",
                     response->client_bits == 0     ? "none"
                     : response->client_bits == 128 ? "full"
                                                    : "prefix",
                     "proxied", response->proxied, "tls", text_or_null(download_tls(response)),
                     "first_byte", (json_int_t)response->first, "acknowledged",
                     (json_int_t)response->length, "kid", name_json(response->key));
}

static json_t *place_json(const struct ledger_evidence_place *place)
{
    char value[17];
    snprintf(value, sizeof(value), "%016" PRIx64, place->chain);
    return json_pack("{s:I, s:I, s:s, s:o}", "segment", (json_int_t)place->segment, "byte",
                     (json_int_t)place->byte, "chain", value, "time", time_json(place->time_ms));
}

static json_t *record_json(const struct ledger_evidence_record *record)
{
    json_t *value = place_json(&record->place);
    (void)json_object_set_new(value, "kind", json_string(record->is_mark ? "mark" : "responses"));
    (void)json_object_set_new(value, "closing", json_boolean(record->is_closing));
    return value;
}

static json_t *head_json(const struct ledger_evidence *found)
{
    char day[DOWNLOAD_TIME_SIZE];
    if (!found->has_head)
        return json_null();
    json_t *value = place_json(&found->head);
    download_write_day(found, day);
    (void)json_object_set_new(value, "day", json_string(day));
    (void)json_object_set_new(value, "final", json_boolean(found->is_head_final));
    return value;
}

static json_t *evidence_json(const struct ledger_evidence *found)
{
    const char *notes[DOWNLOAD_NOTES_MAX];
    json_t *responses = json_array(), *records = json_array(), *texts = json_array();
    for (size_t i = 0; i < found->described_count; i++)
        (void)json_array_append_new(responses, response_json(&found->described[i]));
    for (size_t i = 0; i < found->records_count; i++)
        (void)json_array_append_new(records, record_json(&found->records[i]));
    download_notes(found, notes);
    for (size_t i = 0; notes[i] != NULL; i++)
        (void)json_array_append_new(texts, json_string(notes[i]));
    return json_pack("{s:o, s:I, s:o, s:o, s:o}", "responses", responses, "undescribed",
                     (json_int_t)found->undescribed, "records", records, "head", head_json(found),
                     "notes", texts);
}

json_t *download_json(const struct ledger_evidence *found, bool with_evidence)
{
    char id[LEDGER_DOWNLOAD_TEXT];
    bool encoded;
    char *file = download_name(found->file, &encoded);
    ledger_download_write(found->download, id);
    json_t *value =
        file == NULL ? NULL
                     : json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "download", id, "lane",
                                 found->lane, "instance", found->instance, "issuer", found->issuer,
                                 "account", name_json(found->account), "file", file);
    free(file);
    if (value == NULL)
        return NULL;
    if (encoded)
        (void)json_object_set_new(value, "file_encoded", json_true());
    json_t *more = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:I, s:I}", "size", number_or_null(found->size),
        "content", hex_json(found->has_content, found->content, sizeof(found->content)), "link",
        hex_json(found->has_link, found->link, sizeof(found->link)), "began",
        time_json(found->began_ms), "ended", time_json(found->ended_ms), "state",
        download_state(found->state), "complete",
        found->whole == LEDGER_EVIDENCE_UNKNOWN
            ? json_null()
            : json_boolean(found->whole == LEDGER_EVIDENCE_WHOLE),
        "bytes", (json_int_t)found->bytes, "responses", (json_int_t)found->responses);
    (void)json_object_update(value, more);
    json_decref(more);
    if (with_evidence)
        (void)json_object_set_new(value, "evidence", evidence_json(found));
    return value;
}
