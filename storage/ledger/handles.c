/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts, files and keys as callers hold them: references to the names of names.c. Workers take and drop
 * them.
 */
#include <errno.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/ledger_internal.h"

/* Has the writer wake the account. */
static void wake_soon(struct ledger *ledger, struct ledger_account *account)
{
    if (names_is_awake(account) || atomic_exchange(&account->wakes, true))
        return;
    names_hold(&account->name);
    struct ledger_account *top = atomic_load(&ledger->waking);
    do
        account->wakes_next = top;
    while (!atomic_compare_exchange_weak(&ledger->waking, &top, account));
    writer_wake(ledger);
}

int ledger_account_get(struct ledger *ledger, const char *issuer, const char *account,
                       size_t account_length, struct ledger_account **out)
{
    char text[LEDGER_ISSUER_MAX + 1 + LEDGER_ACCOUNT_MAX];
    struct ledger_name *name;
    if (!names_issuer_valid(issuer) || account_length == 0 || account_length > LEDGER_ACCOUNT_MAX)
        return -EINVAL;
    size_t issuer_length = strlen(issuer);
    memcpy(text, issuer, issuer_length);
    text[issuer_length] = '/';
    memcpy(text + issuer_length + 1, account, account_length);
    int result =
        names_get(&ledger->names, JOURNAL_ACCOUNT, text, issuer_length + 1 + account_length, &name);
    if (result != 0)
        return result;
    *out = names_account(name);
    wake_soon(ledger, *out); /* it is about to be needed */
    return 0;
}

bool ledger_account_is_awake(struct ledger *ledger, struct ledger_account *account)
{
    if (names_is_awake(account))
        return true;
    wake_soon(ledger, account);
    return false;
}

void ledger_account_hold(struct ledger_account *account)
{
    names_hold(&account->name);
}

void ledger_account_drop(struct ledger_account **account)
{
    if (*account != NULL)
        names_drop(&(*account)->name);
    *account = NULL;
}

const char *ledger_account_issuer(const struct ledger_account *account)
{
    return account->issuer->id;
}

const char *ledger_account_name(const struct ledger_account *account)
{
    return account->account;
}

const char *ledger_account_tag(const struct ledger_account *account)
{
    return account->tag;
}

atomic_ullong *ledger_account_handed(struct ledger_account *account)
{
    return &account->handed;
}

int ledger_holding_note(struct ledger *ledger, const struct ledger_account *account,
                        const unsigned char *link_id)
{
    struct holding holding = {.length = account->name.length, .of_link = link_id != NULL};
    check(holding.length <= sizeof(holding.text));
    memcpy(holding.text, account->name.text, holding.length);
    if (link_id != NULL)
        memcpy(holding.link_id, link_id, LEDGER_LINK_ID_BYTES);
    return holdings_note(ledger->holdings, &holding);
}

void ledger_holding_forget(struct ledger *ledger, int place)
{
    holdings_forget(ledger->holdings, place);
}

int ledger_file_get(struct ledger *ledger, const char *path, size_t length,
                    struct ledger_file **out)
{
    struct ledger_name *name;
    int result = names_get(&ledger->names, JOURNAL_FILE, path, length, &name);
    if (result == 0)
        *out = (struct ledger_file *)name;
    return result;
}

const char *ledger_file_path(const struct ledger_file *file, size_t *length)
{
    *length = file->name.length;
    return file->name.text;
}

void ledger_file_hold(struct ledger_file *file)
{
    names_hold(&file->name);
}

void ledger_file_drop(struct ledger_file **file)
{
    if (*file != NULL)
        names_drop(&(*file)->name);
    *file = NULL;
}

int ledger_key_get(struct ledger *ledger, const char *kid, struct ledger_key **out)
{
    struct ledger_name *name;
    int result = names_get(&ledger->names, JOURNAL_KEY, kid, strnlen(kid, LEDGER_FILE_MAX), &name);
    if (result == 0)
        *out = (struct ledger_key *)name;
    return result;
}

void ledger_key_hold(struct ledger_key *key)
{
    names_hold(&key->name);
}

void ledger_key_drop(struct ledger_key **key)
{
    if (*key != NULL)
        names_drop(&(*key)->name);
    *key = NULL;
}
