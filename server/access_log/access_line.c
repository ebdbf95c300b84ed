/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a line of the access log, as JSON (one object, always with all keys) or in the Combined
 * format that log analysers know. access_log.c's thread calls it. No text of a client is written as
 * it came: it is escaped, and struck out where it looks like a token.
 */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/access_log/access_log.h"
#include "server/base/strike.h"

#define TEXT_SIZE (2048 * 4 + 1)

/* Writes the text as printable ASCII with its tokens struck out; other bytes become \xHH, as do the
 * quote and the backslash. Returns the length. */
static size_t clean(const struct access_facts *facts, enum access_text which, char *out)
{
    const char *at = (const char *)(facts + 1), *begin, *end;
    size_t length = 0;
    for (unsigned i = 0; i < which; i++)
        at += facts->length[i];
    begin = at;
    end = at + facts->length[which];
    while (at < end) {
        size_t token = strike_length(begin, at, end);
        unsigned char byte = (unsigned char)*at;
        if (token > 0) {
            memcpy(out + length, STRIKE_TEXT, sizeof(STRIKE_TEXT) - 1);
            length += sizeof(STRIKE_TEXT) - 1;
            at += token;
            continue;
        }
        if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\')
            length += (size_t)sprintf(out + length, "\\x%02X", byte);
        else
            out[length++] = *at;
        at++;
    }
    out[length] = '\0';
    return length;
}

static void write_client(const struct access_facts *facts, bool port, char out[CLIENT_ADDRESS_TEXT])
{
    struct client_address client = facts->client;
    if (!port)
        client.port = 0;
    client_address_write(&client, out);
}

static json_t *text_value(const struct access_facts *facts, enum access_text which)
{
    char text[TEXT_SIZE];
    size_t length = clean(facts, which, text);
    return length > 0 ? json_stringn(text, length) : json_null();
}

static size_t write_json(const struct access_facts *facts, char *out)
{
    char time[64], client[CLIENT_ADDRESS_TEXT];
    struct tm parts;
    time_t seconds = (time_t)facts->began_s;
    enum refusal refusal = (enum refusal)facts->refusal;
    gmtime_r(&seconds, &parts);
    size_t length = strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(time + length, sizeof(time) - length, ".%03uZ", facts->began_ms % 1000);
    write_client(facts, true, client);
    json_t *line = json_pack(
        "{s:s, s:s, s:o, s:o, s:i, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:I, s:I, s:o, s:o}",
        "time", time, "client", client, "method", text_value(facts, ACCESS_METHOD), "path",
        text_value(facts, ACCESS_PATH), "status", (int)facts->status, "reason",
        refusal != REFUSAL_NONE ? json_string(refusal_name(refusal)) : json_null(), "s_uri_signing",
        refusal != REFUSAL_NONE && refusal_uri_signing(refusal) != 0
            ? json_integer(refusal_uri_signing(refusal))
            : json_null(),
        "range", text_value(facts, ACCESS_RANGE), "handed", (json_int_t)facts->handed,
        "acknowledged", (json_int_t)facts->acknowledged, "billed", (json_int_t)facts->acknowledged,
        "download", facts->download[0] != '\0' ? json_string(facts->download) : json_null(),
        "issuer", text_value(facts, ACCESS_ISSUER), "kid", text_value(facts, ACCESS_KID), "jti",
        text_value(facts, ACCESS_JTI), "account", text_value(facts, ACCESS_ACCOUNT), "tls",
        text_value(facts, ACCESS_TLS), "wait_ms", (json_int_t)facts->wait_ms, "total_ms",
        (json_int_t)facts->total_ms, "user_agent", text_value(facts, ACCESS_AGENT), "referer",
        text_value(facts, ACCESS_REFERER));
    if (line == NULL)
        return 0;
    size_t written = json_dumpb(line, out, ACCESS_LINE_MAX - 1, JSON_COMPACT);
    json_decref(line);
    if (written == 0 || written > ACCESS_LINE_MAX - 1)
        return 0;
    out[written] = '\n';
    return written + 1;
}

/* host ident authuser [date] "request" status bytes "referer" "user agent" */
static size_t write_combined(const struct access_facts *facts, char *out)
{
    char time[64], client[CLIENT_ADDRESS_TEXT], texts[ACCESS_TEXTS][TEXT_SIZE];
    struct tm parts;
    time_t seconds = (time_t)facts->began_s;
    gmtime_r(&seconds, &parts);
    strftime(time, sizeof(time), "%d/%b/%Y:%H:%M:%S +0000", &parts);
    write_client(facts, false, client);
    for (unsigned i = 0; i < ACCESS_TEXTS; i++) {
        if (clean(facts, (enum access_text)i, texts[i]) == 0)
            strcpy(texts[i], "-");
        for (char *space = texts[i]; i == ACCESS_ACCOUNT && *space != '\0'; space++) {
            if (*space == ' ')
                *space = '+';
        }
    }
    int length = snprintf(
        out, ACCESS_LINE_MAX, "%s - %s%s%s [%s] \"%s %s HTTP/1.%u\" %u %llu \"%s\" \"%s\"\n",
        client, facts->length[ACCESS_ISSUER] > 0 ? texts[ACCESS_ISSUER] : "",
        facts->length[ACCESS_ISSUER] > 0 ? "/" : "", texts[ACCESS_ACCOUNT], time,
        texts[ACCESS_METHOD], texts[ACCESS_PATH], facts->minor, facts->status,
        (unsigned long long)facts->acknowledged, texts[ACCESS_REFERER], texts[ACCESS_AGENT]);
    return length > 0 && (size_t)length < ACCESS_LINE_MAX ? (size_t)length : 0;
}

size_t access_line_write(const struct access_facts *facts, enum access_format format,
                         char out[ACCESS_LINE_MAX])
{
    return format == ACCESS_JSON ? write_json(facts, out) : write_combined(facts, out);
}
