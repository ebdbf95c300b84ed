/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A download as text for a terminal; see download_report.h. What a peer may have chosen, it prints without control
 * bytes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/byte_count.h"
#include "server/command/command_admin.h"
#include "server/command/download_report.h"

#define NOTE_WIDTH 100

static void print_summary(const struct ledger_evidence *found)
{
    char id[LEDGER_DOWNLOAD_TEXT], began[DOWNLOAD_TIME_SIZE], ended[DOWNLOAD_TIME_SIZE];
    char bytes[BYTE_COUNT_SIZE], content[DOWNLOAD_HEX_SIZE], link[DOWNLOAD_HEX_SIZE];
    ledger_download_write(found->download, id);
    download_write_time(found->began_ms, began);
    download_write_time(found->ended_ms, ended);
    byte_count_write((int64_t)found->bytes, bytes);
    download_write_hex(found->content, sizeof(found->content), content);
    download_write_hex(found->link, sizeof(found->link), link);
    printf("download %s of %s/", id, found->issuer);
    command_print_text(stdout, found->account);
    printf(", %s\n  file       ", download_state(found->state));
    command_print_text(stdout, found->file);
    if (found->size > 0)
        printf("\n  size       %" PRIu64 " bytes", found->size);
    printf("\n  content    %s%s\n  link       %s\n", found->has_content ? "XXH3-128 " : "",
           found->has_content ? content : "unknown", found->has_link ? link : "unknown");
    printf("  began      %s\n  ended      %s\n", began, ended);
    printf("  received   %" PRIu64 " bytes (%s) in %" PRIu64 " response%s\n", found->bytes, bytes,
           found->responses, found->responses == 1 ? "" : "s");
    printf("  %s\n", download_whole(found->whole));
}

static void print_responses(const struct ledger_evidence *found)
{
    printf("\n%-24s  %-24s  %-20s  %-7s  %12s  %12s  %s\n", "STARTED", "ENDED BY", "CLIENT", "TLS",
           "FIRST BYTE", "ACKNOWLEDGED", "KEY");
    for (size_t i = 0; i < found->described_count; i++) {
        const struct ledger_evidence_response *response = &found->described[i];
        char started[DOWNLOAD_TIME_SIZE], told[DOWNLOAD_TIME_SIZE], client[DOWNLOAD_CLIENT_SIZE];
        const char *tls = download_tls(response);
        download_write_time(response->started_ms, started);
        download_write_time(response->told_ms, told);
        download_write_client(response, client);
        printf("%-24s  %-24s  %-20s  %-7s  %12" PRIu64 "  %12" PRIu64 "  ", started, told,
               client[0] != '\0' ? client : "not kept", tls[0] != '\0' ? tls : "none",
               response->first, response->length);
        command_print_text(stdout, response->key != NULL ? response->key : "unknown");
        puts(response->proxied ? "  (a proxy spoke for the client)" : "");
    }
    if (found->undescribed > 0)
        printf("and %" PRIu64 " response%s that the journal counts and does not describe\n",
               found->undescribed, found->undescribed == 1 ? "" : "s");
}

static void print_proof(const struct ledger_evidence *found)
{
    char day[DOWNLOAD_TIME_SIZE];
    printf("\nrecords in %s of instance %s:\n%-12s  %10s  %-16s  %-24s  %s\n", found->lane,
           found->instance, "SEGMENT", "BYTE", "CHAIN", "WRITTEN", "WHAT IT TELLS");
    for (size_t i = 0; i < found->records_count; i++) {
        const struct ledger_evidence_record *record = &found->records[i];
        char written[DOWNLOAD_TIME_SIZE];
        download_write_time(record->place.time_ms, written);
        printf("%08" PRIu32 ".seg  %10" PRIu64 "  %016" PRIx64 "  %s  ", record->place.segment,
               record->place.byte, record->place.chain, written);
        if (record->is_mark)
            printf("%" PRIu64 " bytes, %" PRIu64 " response%s in all%s\n", record->bytes,
                   record->responses, record->responses == 1 ? "" : "s",
                   record->is_closing ? "; closed" : "");
        else
            puts("responses that the next one counts");
    }
    if (!found->has_head)
        return;
    download_write_day(found, day);
    printf("head of %s%s: %08" PRIu32 ".seg, byte %" PRIu64 ", chain %016" PRIx64 "\n", day,
           found->is_head_final ? "" : " so far", found->head.segment, found->head.byte,
           found->head.chain);
}

/* Breaks the note's lines between words. */
static void print_note(const char *note)
{
    size_t column = 0;
    while (*note != '\0') {
        size_t length = strcspn(note, " ");
        if (column > 0 && column + 1 + length > NOTE_WIDTH) {
            putchar('\n');
            column = 0;
        }
        printf("%s%.*s", column > 0 ? " " : "", (int)length, note);
        column += length + (column > 0 ? 1 : 0);
        note += length + (note[length] == ' ' ? 1 : 0);
    }
    putchar('\n');
}

void download_print_text(const struct ledger_evidence *found, bool with_evidence)
{
    const char *notes[DOWNLOAD_NOTES_MAX];
    print_summary(found);
    if (!with_evidence)
        return;
    print_responses(found);
    print_proof(found);
    download_notes(found, notes);
    for (size_t i = 0; notes[i] != NULL; i++) {
        putchar('\n');
        print_note(notes[i]);
    }
}
