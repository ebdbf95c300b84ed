/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words in which downloads are shown; see download_report.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/client_address.h"
#include "server/command/download_report.h"
#include "tokens/tokens.h"

#define IPV4_BITS_BEFORE 96 /* of the 128, before an IPv4 address */

static void write_seconds(uint64_t time_ms, char out[static DOWNLOAD_TIME_SIZE])
{
    struct tm parts;
    time_t seconds = (time_t)(time_ms / 1000);
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(out, DOWNLOAD_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts) == 0)
        snprintf(out, DOWNLOAD_TIME_SIZE, "%" PRIu64, time_ms / 1000);
}

void download_write_time(uint64_t time_ms, char out[static DOWNLOAD_TIME_SIZE])
{
    write_seconds(time_ms, out);
    size_t length = strlen(out);
    snprintf(out + length, DOWNLOAD_TIME_SIZE - length, ".%03uZ", (unsigned)(time_ms % 1000));
}

void download_write_day(const struct ledger_evidence *found, char out[static DOWNLOAD_TIME_SIZE])
{
    size_t last = found->records_count;
    write_seconds(last > 0 ? found->records[last - 1].place.time_ms : 0, out);
    out[strcspn(out, "T")] = '\0';
}

void download_write_hex(const unsigned char *bytes, size_t length,
                        char out[static DOWNLOAD_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length && i < LEDGER_LINK_ID_BYTES; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

void download_write_client(const struct ledger_evidence_response *response,
                           char out[static DOWNLOAD_CLIENT_SIZE])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct client_address address = {.port = 0};
    char text[CLIENT_ADDRESS_TEXT];
    unsigned bits = response->client_bits;
    out[0] = '\0';
    if (bits == 0)
        return;
    memcpy(address.ip, response->client, sizeof(address.ip));
    client_address_write(&address, text);
    bool is_ipv4 =
        bits >= IPV4_BITS_BEFORE && memcmp(response->client, mapped, sizeof(mapped)) == 0;
    if (bits == 8 * sizeof(address.ip))
        snprintf(out, DOWNLOAD_CLIENT_SIZE, "%s", text);
    else
        snprintf(out, DOWNLOAD_CLIENT_SIZE, "%s/%u", text,
                 is_ipv4 ? bits - IPV4_BITS_BEFORE : bits);
}

const char *download_tls(const struct ledger_evidence_response *response)
{
    return response->tls == 13 ? "TLSv1.3" : response->tls == 12 ? "TLSv1.2" : "";
}

const char *download_state(enum ledger_evidence_state state)
{
    return state == LEDGER_EVIDENCE_CLOSED ? "closed"
           : state == LEDGER_EVIDENCE_CUT  ? "cut"
                                           : "open";
}

const char *download_whole(enum ledger_evidence_whole whole)
{
    return whole == LEDGER_EVIDENCE_WHOLE ? "complete: every byte of the file was acknowledged"
           : whole == LEDGER_EVIDENCE_PART
               ? "in part: not every byte of the file was acknowledged"
               : "not known to be complete: the journal does not describe enough";
}

char *download_name(const char *bytes, bool *encoded)
{
    json_t *probe = json_string(bytes); /* refuses what is not UTF-8 */
    *encoded = probe == NULL;
    json_decref(probe);
    if (!*encoded)
        return strdup(bytes);
    size_t size = 3 * strlen(bytes) + 1;
    char *text = malloc(size);
    if (text != NULL && token_path_encode(bytes, strlen(bytes), text, size) < 0)
        text[0] = '\0';
    return text;
}

/* ---- notes ---- */

static const char acknowledged[] = "Acknowledged bytes are those whose arrival the client's "
                                   "operating system has confirmed over TCP. Bytes that "
                                   "were only sent do not count, nor do headers and TLS. A "
                                   "response to several ranges is told by its first byte and "
                                   "the sum of its parts, and counts as one run of bytes where it "
                                   "is judged whether the file is complete.";
static const char ended[] = "A response's end is not recorded by itself: \"ended by\" is the time "
                            "of the journal's record that told it. The "
                            "response ended then or shortly before, by journal_mark_ms (0.8 s "
                            "unless configured) at most while other "
                            "responses of the download were under way, and by about 0.15 s "
                            "otherwise. Times are those of the node's clock, "
                            "in UTC.";
static const char prefix[] =
    "The journal kept a prefix of the client's address: the /24 of IPv4, the /48 of IPv6 "
    "(journal_client: prefix, "
    "the default). With journal_client: full it keeps the whole address of later responses.";
static const char none[] = "The journal kept no address of the client (journal_client: none). With "
                           "journal_client: prefix or full it keeps "
                           "the address of later responses, in part or whole.";
static const char proxied[] = "A trusted proxy spoke for the client where that is noted: the "
                              "address is the one that the proxy gave, and the "
                              "bytes are those that the proxy took.";
static const char undescribed[] = "Some responses are counted, with their bytes, and not "
                                  "described: a record describes five that ended since the "
                                  "one before.";
static const char cut[] = "The node ended without closing the download. What was acknowledged "
                          "after the last record, within about a second, "
                          "is not in the journal.";
static const char chain[] = "Each record carries a value of the journal's chain: XXH3-64 of its "
                            "bytes, seeded with the value of the record "
                            "before. A record that was damaged, taken out or put in breaks the "
                            "chain, and `tollgate ledger verify` shows "
                            "where. XXH3 is not a signature: the chain finds damage, not forgery, "
                            "because anybody who can write the journal "
                            "can compute it again. It proves more where the head of the day was "
                            "noted elsewhere at the time, as `tollgate "
                            "ledger verify --day` shows it: then a change of what lies before that "
                            "head shows, unless somebody built it to "
                            "have the same 64 bits.";

void download_notes(const struct ledger_evidence *found, const char *out[static DOWNLOAD_NOTES_MAX])
{
    bool has_prefix = false, has_none = false, has_proxy = false;
    for (size_t i = 0; i < found->described_count; i++) {
        const struct ledger_evidence_response *response = &found->described[i];
        has_none = has_none || response->client_bits == 0;
        has_prefix = has_prefix || (response->client_bits > 0 && response->client_bits < 128);
        has_proxy = has_proxy || response->proxied;
    }
    size_t count = 0;
    out[count++] = acknowledged;
    if (found->described_count > 0)
        out[count++] = ended;
    if (has_prefix)
        out[count++] = prefix;
    if (has_none)
        out[count++] = none;
    if (has_proxy)
        out[count++] = proxied;
    if (found->undescribed > 0)
        out[count++] = undescribed;
    if (found->state == LEDGER_EVIDENCE_CUT)
        out[count++] = cut;
    out[count++] = chain;
    out[count] = NULL;
}
