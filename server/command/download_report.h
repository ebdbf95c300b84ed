/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How `tollgate download show` says what the journal holds of a download: as text, as JSON, and as a page to be
 * printed; and the words that these share. Used by command_download_show.c and command_download_list.c. Nothing
 * here reads a file.
 */
#ifndef TOLLGATE_SERVER_COMMAND_DOWNLOAD_REPORT_H
#define TOLLGATE_SERVER_COMMAND_DOWNLOAD_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/ledger/evidence.h"

/* ---- the three forms; each prints on standard output, but for the JSON, which is the caller's ---- */

void download_print_text(const struct ledger_evidence *found, bool with_evidence);
/* NULL: no memory. */
json_t *download_json(const struct ledger_evidence *found, bool with_evidence);
/* `problem` is NULL, or why the journal could not be read to its end. */
void download_print_page(const struct ledger_evidence *found, const char *problem);

/* ---- words ---- */

#define DOWNLOAD_TIME_SIZE   40
#define DOWNLOAD_CLIENT_SIZE 64
#define DOWNLOAD_HEX_SIZE    (2 * LEDGER_LINK_ID_BYTES + 1)

/* Milliseconds since 1970 as an RFC 3339 time in UTC. */
void download_write_time(uint64_t time_ms, char out[static DOWNLOAD_TIME_SIZE]);
/* The UTC day of the download's last record, whose head is given. */
void download_write_day(const struct ledger_evidence *found, char out[static DOWNLOAD_TIME_SIZE]);
/* At most LEDGER_LINK_ID_BYTES bytes in hexadecimal. */
void download_write_hex(const unsigned char *bytes, size_t length,
                        char out[static DOWNLOAD_HEX_SIZE]);
/* The client's address as the journal kept it, "192.0.2.0/24" where that is a prefix; "" for none. */
void download_write_client(const struct ledger_evidence_response *response,
                           char out[static DOWNLOAD_CLIENT_SIZE]);
/* "TLSv1.3"; "" without TLS. */
const char *download_tls(const struct ledger_evidence_response *response);
const char *download_state(enum ledger_evidence_state state); /* one word */
/* Whether all of the file arrived, as a sentence without its stop. */
const char *download_whole(enum ledger_evidence_whole whole);
/*
 * A name of any bytes as UTF-8: as it is, or percent-encoded with *encoded set. The caller frees it; NULL: no
 * memory.
 */
char *download_name(const char *bytes, bool *encoded);

/* What the reader of the evidence must know of it. NULL ends the list of those that concern this download. */
#define DOWNLOAD_NOTES_MAX 9
void download_notes(const struct ledger_evidence *found,
                    const char *out[static DOWNLOAD_NOTES_MAX]);

#endif
