/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads access logs into a reconciliation. See reconcile_logs.h.
 */
#include "server/command/reconcile_logs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/access_log/access_read.h"
#include "server/command/cli.h"

static bool is_compressed(FILE *file)
{
    static const unsigned char gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd},
                               xz[] = {0xfd, '7', 'z', 'X'};
    unsigned char first[4] = {0};
    size_t length = fread(first, 1, sizeof(first), file);
    rewind(file);
    return length == sizeof(first) &&
           (memcmp(first, gzip, sizeof(gzip)) == 0 || memcmp(first, zstd, sizeof(zstd)) == 0 ||
            memcmp(first, xz, sizeof(xz)) == 0);
}

int reconcile_log_open(const char *command, struct reconcile_log *log)
{
    log->file = fopen(log->path, "re");
    if (log->file == NULL)
        return cli_fail(EX_NOINPUT, command, "%s: %s; %s", log->path, strerrordesc_np(errno),
                        errno == EACCES ? "run this as a user that may read it"
                                        : "name an access log that is there");
    if (is_compressed(log->file))
        return cli_fail(EX_DATAERR, command, "%s is compressed; unpack it, and name what comes out",
                        log->path);
    return EX_OK;
}

void reconcile_log_close(struct reconcile_log *log)
{
    if (log->file != NULL)
        (void)fclose(log->file);
    log->file = NULL;
}

/* In the Combined format a plus may stand for a space: the name that is known counts. */
static void settle_pluses(struct access_read *line, struct ledger_reconcile *reconcile)
{
    if (!line->has_pluses ||
        ledger_reconcile_knows(reconcile, line->issuer, line->account, line->account_length))
        return;
    for (size_t i = 0; i < line->account_length; i++)
        if (line->account[i] == '+')
            line->account[i] = ' ';
}

static int take_line(struct reconcile_log *log, const char *text, size_t length,
                     struct ledger_reconcile *reconcile, bool before)
{
    struct access_read line;
    log->lines++;
    if (access_line_read(text, length, &line) != 0) {
        if (log->malformed++ == 0)
            log->malformed_first = log->lines;
        return 0;
    }
    if (line.acknowledged == 0)
        return 0;
    settle_pluses(&line, reconcile);
    int result = ledger_reconcile_logged(reconcile, line.issuer, line.account, line.account_length,
                                         line.acknowledged, before);
    if (result == -EINVAL)
        log->unnamed += line.acknowledged;
    return result == -EINVAL ? 0 : result;
}

int reconcile_log_read(const char *command, struct reconcile_log *log,
                       struct ledger_reconcile *reconcile, bool before)
{
    char *text = NULL;
    size_t size = 0;
    ssize_t length;
    int result = 0;
    clearerr(log->file);
    while (result == 0 && (length = getline(&text, &size, log->file)) > 0) {
        if (text[length - 1] != '\n') { /* it is being written; the next reading takes it */
            result = fseeko(log->file, -(off_t)length, SEEK_CUR) == 0 ? 0 : -errno;
            break;
        }
        result = take_line(log, text, (size_t)length - 1, reconcile, before);
    }
    bool has_failed = ferror(log->file) != 0;
    free(text);
    if (result == -ENOMEM)
        return cli_fail(EX_SOFTWARE, command, "no memory for the accounts of %s", log->path);
    if (result != 0 || has_failed)
        return cli_fail(EX_IOERR, command, "%s cannot be read: %s; look at its disk", log->path,
                        strerrordesc_np(result != 0 ? -result : EIO));
    return EX_OK;
}
