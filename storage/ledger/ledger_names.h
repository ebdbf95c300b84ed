/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of ledger.h, which users include: how long names may be, and accounts and files as the
 * ledger's users hold them.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_NAMES_H
#define TOLLGATE_STORAGE_LEDGER_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/ledger/redis_table.h"

#define LEDGER_ISSUER_MAX      32
#define LEDGER_ACCOUNT_MAX     128
#define LEDGER_FILE_MAX        1024
#define LEDGER_NODE_MAX        32
#define LEDGER_TRANSACTION_MAX 64
#define LEDGER_AMOUNT_MAX                                                                          \
    ((int64_t)LEDGER_NUMBER_MAX + 1) /* exclusive: what a Lua number holds exactly */
#define LEDGER_TAG_MAX       (LEDGER_ISSUER_MAX + 1 + 3 * LEDGER_ACCOUNT_MAX + 1)
#define LEDGER_LINK_ID_BYTES 32 /* a link id: a SHA-256 */
#define LEDGER_LINK_ID_HEX   (2 * LEDGER_LINK_ID_BYTES)
#define LEDGER_KEY_MAX       (LEDGER_TAG_MAX + 24 + LEDGER_LINK_ID_HEX)
#define LEDGER_USES_MAX      1000 /* of a link and path */

struct ledger;
struct ledger_account;

/*
 * An account or a file as the journal knows it: interned and counted by atomic references, so that
 * a worker looks it up once per token or open file and then passes a pointer. Looking up takes none
 * of accounts_max. The look-ups give a reference to the caller; 0, -EINVAL or -ENOMEM.
 */
struct ledger_file;
int ledger_account_get(struct ledger *ledger, const char *issuer, const char *account,
                       size_t account_length, struct ledger_account **out);
void ledger_account_hold(struct ledger_account *account);
/*
 * Whether what the journal holds of the account has been counted: until then there is no ledger_account_handed,
 * and nothing may be asked or begun for it. If not, the writer is asked to count it, which takes a read of
 * the disk, and options.woken is called then. Any thread.
 */
bool ledger_account_is_awake(struct ledger *ledger, struct ledger_account *account);
void ledger_account_drop(struct ledger_account **account);
const char *ledger_account_issuer(const struct ledger_account *account);
const char *ledger_account_name(const struct ledger_account *account);
/* "issuer/account", the account percent-encoded (all but A-Z a-z 0-9 . _ ~ -): the hash tag
 * of its keys. */
const char *ledger_account_tag(const struct ledger_account *account);
/* Whether what Redis holds of it is damaged, so that nothing is posted of it or granted to it. */
bool ledger_account_is_set_aside(const struct ledger_account *account);
int ledger_file_get(struct ledger *ledger, const char *path, size_t length,
                    struct ledger_file **out);
const char *ledger_file_path(const struct ledger_file *file, size_t *length);
void ledger_file_hold(struct ledger_file *file);
void ledger_file_drop(struct ledger_file **file);
/*
 * A download's number in words, as the access log and the commands show it: the lane in which it was opened, the
 * segment and a count there, such as "a-1-17". It names one download of a state directory. "" for a number from a
 * journal of format 1 or 2, which is not unique.
 */
#define LEDGER_DOWNLOAD_TEXT 24
void ledger_download_write(uint64_t download, char out[LEDGER_DOWNLOAD_TEXT]);
/* Reads such a text, to its end. False, with *out undefined, where it is spelled otherwise. */
bool ledger_download_read(const char *text, uint64_t *out);
/* The id (kid) of a key that signs links, likewise. */
struct ledger_key;
int ledger_key_get(struct ledger *ledger, const char *kid, struct ledger_key **out);
void ledger_key_hold(struct ledger_key *key);
void ledger_key_drop(struct ledger_key **key);

#endif
