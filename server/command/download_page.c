/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The evidence of a download as a page to be printed on A4, for a card network, a bank or a court; see
 * download_report.h. It has no script and loads nothing. Names that a peer may have chosen are escaped, and isolated
 * from the text around them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/byte_count.h"
#include "server/command/command_admin.h"
#include "server/command/download_report.h"

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<style>\n"
    "@page { size: A4 portrait; margin: 18mm 15mm }\n"
    "html { background: #fff; color: #000; font: 10pt/1.4 \"Liberation Sans\", Arial, Helvetica, "
    "sans-serif }\n"
    "body { max-width: 180mm; margin: 0 auto; padding: 8mm 0 }\n"
    "@media print { body { padding: 0 } }\n"
    "h1 { font-size: 17pt; margin: 0 0 1mm }\n"
    "h2 { font-size: 11.5pt; margin: 7mm 0 2mm; border-bottom: 0.3mm solid #000; break-after: "
    "avoid }\n"
    "p { margin: 0 0 2mm }\n"
    "table { border-collapse: collapse; width: 100% }\n"
    "thead { display: table-header-group }\n"
    "tr { break-inside: avoid }\n"
    "th, td { text-align: left; vertical-align: top; padding: 0.8mm 3mm 0.8mm 0; border-bottom: "
    "0.1mm solid #999 }\n"
    "td:last-child, th:last-child { padding-right: 0 }\n"
    "th { font-weight: 600 }\n"
    ".facts th { width: 44mm }\n"
    ".number { text-align: right; white-space: nowrap }\n"
    ".fixed { font-family: \"Liberation Mono\", \"Courier New\", monospace; font-size: 8.5pt }\n"
    ".small { font-size: 8.5pt }\n"
    ".log { table-layout: fixed }\n"
    ".warning { border: 0.4mm solid #000; padding: 2mm }\n"
    "bdi { overflow-wrap: anywhere; white-space: pre-wrap }\n"
    "</style>\n";

/* The character at `text`, in UTF-8, where it would not be seen but turn the writing around or control it (Unicode
 * Standard Annex 9, and C1); 0: it is another. *length is how many bytes it has. */
static unsigned hidden_character(const char *text, size_t *length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned character = 0;
    if (bytes[0] == 0xc2 && bytes[1] >= 0x80 && bytes[1] < 0xa0) {
        *length = 2;
        return bytes[1];
    }
    if (bytes[0] != 0xe2 || (bytes[1] != 0x80 && bytes[1] != 0x81) || bytes[2] == '\0')
        return 0;
    *length = 3;
    character = 0x2000u + (bytes[1] - 0x80u) * 0x40 + (bytes[2] & 0x3fu);
    bool turns = character == 0x200e || character == 0x200f ||
                 (character >= 0x2028 && character <= 0x202e) ||
                 (character >= 0x2066 && character <= 0x2069);
    return turns ? character : 0;
}

static void print_escaped(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        size_t length;
        unsigned hidden = hidden_character(text, &length);
        if (hidden > 0) {
            printf("\\u%04x", hidden);
            text += length - 1;
        } else if (byte == '&')
            fputs("&amp;", stdout);
        else if (byte == '<')
            fputs("&lt;", stdout);
        else if (byte == '>')
            fputs("&gt;", stdout);
        else if (byte == '"')
            fputs("&quot;", stdout);
        else if (byte == '\'')
            fputs("&#39;", stdout);
        else if (byte < 0x20 || byte == 0x7f)
            printf("\\x%02x", byte);
        else
            putchar(byte);
    }
}

/* A name of any bytes. */
static void print_name(const char *bytes)
{
    bool encoded;
    char *text = download_name(bytes, &encoded);
    fputs("<bdi>", stdout);
    print_escaped(text != NULL ? text : "(no memory)");
    fputs("</bdi>", stdout);
    if (encoded)
        fputs(" (percent-encoded)", stdout);
    free(text);
}

/* Begins the row of a fact; </td></tr> ends it. */
static void begin_fact(const char *name)
{
    printf("<tr><th>%s</th><td>", name);
}

static void print_fact(const char *name, const char *value)
{
    begin_fact(name);
    print_escaped(value);
    puts("</td></tr>");
}

static void print_amount(const char *name, uint64_t bytes)
{
    char text[BYTE_COUNT_SIZE];
    byte_count_write((int64_t)bytes, text);
    begin_fact(name);
    printf("%" PRIu64 " bytes (%s)</td></tr>\n", bytes, text);
}

static void print_goods(const struct ledger_evidence *found)
{
    char hex[DOWNLOAD_HEX_SIZE];
    puts("<h2>Description of the goods</h2>\n<table class=\"facts\">");
    begin_fact("File");
    print_name(found->file);
    puts("</td></tr>");
    if (found->size > 0)
        print_amount("Size", found->size);
    download_write_hex(found->content, sizeof(found->content), hex);
    begin_fact("Content");
    if (found->has_content)
        printf("<span class=\"fixed\">%s</span> (XXH3-128 of the file's bytes)", hex);
    else
        fputs("not recorded", stdout);
    puts("</td></tr>\n</table>");
}

static void print_delivery(const struct ledger_evidence *found)
{
    char hex[DOWNLOAD_HEX_SIZE], began[DOWNLOAD_TIME_SIZE], ended[DOWNLOAD_TIME_SIZE];
    download_write_time(found->began_ms, began);
    download_write_time(found->ended_ms, ended);
    download_write_hex(found->link, sizeof(found->link), hex);
    puts("<h2>Download</h2>\n<table class=\"facts\">");
    begin_fact("Account");
    print_name(found->account);
    printf(" at the issuer %s</td></tr>\n", found->issuer);
    begin_fact("Signed link");
    printf("<span class=\"fixed\">%s</span></td></tr>\n", found->has_link ? hex : "not recorded");
    print_fact("Began", began);
    print_fact("Ended by", ended);
    print_amount("Bytes acknowledged", found->bytes);
    begin_fact("Responses");
    printf("%" PRIu64 "</td></tr>\n", found->responses);
    print_fact("Delivery", download_whole(found->whole));
    if (found->state != LEDGER_EVIDENCE_CLOSED)
        print_fact("State", found->state == LEDGER_EVIDENCE_OPEN
                                ? "open: the client may go on with it"
                                : "cut: the node ended without closing it");
    puts("</table>");
}

/* The time with a space in which a narrow column may break it; the column's head says that it is UTC. */
static void print_time_cell(uint64_t time_ms)
{
    char text[DOWNLOAD_TIME_SIZE];
    download_write_time(time_ms, text);
    printf("<td>%.10s %.12s</td>", text, text + strlen("2026-11-29T"));
}

static void print_response(size_t number, const struct ledger_evidence_response *response)
{
    char client[DOWNLOAD_CLIENT_SIZE];
    const char *tls = download_tls(response);
    download_write_client(response, client);
    printf("<tr><td class=\"number\">%zu</td>", number);
    print_time_cell(response->started_ms);
    print_time_cell(response->told_ms);
    printf("<td><bdi>%s</bdi>%s</td><td>%s</td><td class=\"number\">%" PRIu64
           "</td><td class=\"number\">%" PRIu64 "</td><td>",
           client[0] != '\0' ? client : "not kept", response->proxied ? " (by a proxy)" : "",
           tls[0] != '\0' ? tls : "none", response->first, response->length);
    print_name(response->key != NULL ? response->key : "unknown");
    puts("</td></tr>");
}

static void print_responses(const struct ledger_evidence *found)
{
    puts("<h2>Access log of the download</h2>\n<table class=\"small log\">\n<colgroup><col "
         "style=\"width:8mm\"><col style=\"width:24mm\"><col style=\"width:24mm\"><col "
         "style=\"width:31mm\"><col style=\"width:15mm\"><col style=\"width:20mm\"><col "
         "style=\"width:26mm\"><col></colgroup>\n<thead><tr><th class=\"number\">#</th><th>Started "
         "(UTC)</th><th>Ended by (UTC)</th><th>IP address</th><th>TLS</th><th "
         "class=\"number\">First "
         "byte</th><th class=\"number\">Acknowledged</th><th>Signing "
         "key</th></tr></thead>\n<tbody>");
    for (size_t i = 0; i < found->described_count; i++)
        print_response(i + 1, &found->described[i]);
    puts("</tbody>\n</table>");
    if (found->undescribed > 0)
        printf("<p>And %" PRIu64 " response%s that the journal counts and does not describe.</p>\n",
               found->undescribed, found->undescribed == 1 ? "" : "s");
}

static void print_notes(const struct ledger_evidence *found)
{
    const char *notes[DOWNLOAD_NOTES_MAX];
    download_notes(found, notes);
    puts("<h2>How to read this</h2>");
    for (size_t i = 0; notes[i] != NULL; i++) {
        fputs("<p>", stdout);
        print_escaped(notes[i]);
        puts("</p>");
    }
}

static void print_proof(const struct ledger_evidence *found)
{
    char day[DOWNLOAD_TIME_SIZE];
    printf("<h2>Position in the journal's chain</h2>\n<p>Journal %s of instance <span "
           "class=\"fixed\">%s</span>.",
           found->lane, found->instance);
    if (found->has_head) {
        download_write_day(found, day);
        printf(" The chain's head of %s%s is <span class=\"fixed\">%016" PRIx64
               "</span>, of the record at byte %" PRIu64 " of segment %" PRIu32 ".",
               day, found->is_head_final ? "" : ", so far,", found->head.chain, found->head.byte,
               found->head.segment);
    }
    puts("</p>\n<table class=\"small\">\n<thead><tr><th class=\"number\">Segment</th><th "
         "class=\"number\">Byte</th><th>Chain</th><th>Written "
         "(UTC)</th><th>Tells</th></tr></thead>\n<tbody>");
    for (size_t i = 0; i < found->records_count; i++) {
        const struct ledger_evidence_record *record = &found->records[i];
        printf("<tr><td class=\"number\">%" PRIu32 "</td><td class=\"number\">%" PRIu64
               "</td><td class=\"fixed\">%016" PRIx64 "</td>",
               record->place.segment, record->place.byte, record->place.chain);
        print_time_cell(record->place.time_ms);
        fputs("<td>", stdout);
        if (record->is_mark)
            printf("%" PRIu64 " bytes in all%s</td></tr>\n", record->bytes,
                   record->is_closing ? "; closed" : "");
        else
            puts("responses that the next record counts</td></tr>");
    }
    puts("</tbody>\n</table>");
}

void download_print_page(const struct ledger_evidence *found, const char *problem)
{
    char id[LEDGER_DOWNLOAD_TEXT], made[COMMAND_TIME_SIZE];
    ledger_download_write(found->download, id);
    command_write_time((int64_t)time(NULL), made);
    fputs(head, stdout);
    printf("<title>Evidence of download %s</title>\n</head>\n<body>\n<h1>Evidence of download "
           "%s</h1>\n"
           "<p>A digital good, delivered over HTTP by a signed link. From the delivery server's "
           "journal, by tollgate "
           "%s, %s.</p>\n",
           id, id, TOLLGATE_VERSION, made);
    if (problem != NULL) {
        fputs("<p class=\"warning\">This page may lack something: ", stdout);
        print_escaped(problem);
        puts("</p>");
    }
    print_goods(found);
    print_delivery(found);
    print_responses(found);
    print_notes(found);
    print_proof(found);
    puts("</body>\n</html>");
}
