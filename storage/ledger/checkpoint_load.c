/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a whole checkpoint, and lays one beneath a journal's names. See
 * checkpoint_make.h and checkpoint_index.h.
 */
#include <errno.h>
#include <string.h>

#include "storage/ledger/checkpoint_index.h"

int64_t checkpoint_newest(const struct checkpoint_place *place, uint32_t most)
{
    const struct ledger_disk *disk = place->disk;
    struct ledger_disk_list list;
    int result = disk->list(disk->self, place->checkpoints, &list);
    if (result != 0)
        return result;
    for (uint32_t last = list.last; last > 0; last--) {
        uint64_t size;
        int fd =
            last > most ? -ENOENT : disk->open(disk->self, place->checkpoints, last, false, &size);
        if (fd >= 0) {
            disk->close(disk->self, fd);
            return last;
        }
        if (fd != -ENOENT)
            return fd;
    }
    return 0;
}

static int take_account(const uint8_t *bytes, uint32_t length, struct names *names,
                        checkpoint_each *each, void *context)
{
    struct checkpoint_account account = {0};
    int result = checkpoint_account_decode(bytes, length, names, &account);
    if (result == 0 && each != NULL)
        result = each(context, &account);
    checkpoint_account_clear(&account);
    return result;
}

int checkpoint_read(const struct checkpoint_place *place, uint32_t segment, struct names *names,
                    checkpoint_each *each, void *context, struct checkpoint *out)
{
    struct checkpoint_reader reader;
    const uint8_t *bytes;
    uint32_t length;
    memset(out, 0, sizeof(*out));
    int result = checkpoint_open(&reader, place->disk, place->checkpoints, segment);
    if (result == 0 && memcmp(reader.head.instance, place->instance, JOURNAL_ID_BYTES) != 0)
        result = -EBADMSG;
    while (result == 0 && (result = checkpoint_next(&reader, &bytes, &length)) == 1)
        result = each == NULL ? 0 : take_account(bytes, length, names, each, context);
    if (result == 0)
        result = checkpoint_end(&reader, out);
    checkpoint_reader_close(&reader);
    return result;
}

/* Verifies the checkpoint, and has its accounts count among their issuers', asleep. */
static int count_accounts(const struct checkpoint_place *place, uint32_t segment,
                          struct names *names, struct checkpoint *out)
{
    struct checkpoint_reader reader;
    const uint8_t *bytes;
    uint32_t length;
    size_t text_length;
    memset(out, 0, sizeof(*out));
    int result = checkpoint_open(&reader, place->disk, place->checkpoints, segment);
    if (result == 0 && memcmp(reader.head.instance, place->instance, JOURNAL_ID_BYTES) != 0)
        result = -EBADMSG;
    while (result == 0 && (result = checkpoint_next(&reader, &bytes, &length)) == 1) {
        const char *text = checkpoint_account_text(bytes, length, &text_length);
        result = text == NULL ? -EBADMSG : names_place(names, text, text_length);
        if (result == -EINVAL)
            result = -EBADMSG;
    }
    if (result == 0)
        result = checkpoint_end(&reader, out);
    checkpoint_reader_close(&reader);
    return result;
}

/* Whether the segment behind what the checkpoint covers goes on from there: another journal may have been
 * put beside it. 0, -EBADMSG, or another negative errno. */
static int goes_on(const struct journal *journal, const struct checkpoint_head *head)
{
    const struct ledger_disk *disk = journal->disk;
    uint8_t bytes[JOURNAL_RECORD_BYTES] = {0};
    struct journal_record record = {0};
    uint64_t size = 0;
    int fd = disk->open(disk->self, journal->directory, (uint32_t)head->segment + 1, false, &size);
    if (fd < 0)
        return fd;
    uint32_t format = 0;
    int result =
        size < sizeof(bytes) ? -EBADMSG : disk->read(disk->self, fd, 0, bytes, sizeof(bytes));
    disk->close(disk->self, fd);
    if (result == 0)
        format = journal_format_of(bytes);
    /* What else may be wrong with the header, the scan says. */
    if (result == 0 && journal_decode(bytes, format, &record) && record.previous != head->chain)
        result = -EBADMSG;
    return result;
}

int checkpoint_load(struct checkpoint *out, struct checkpoint_index *index,
                    const struct journal *journal, int checkpoints, uint32_t most)
{
    const struct checkpoint_place place = {.disk = journal->disk,
                                           .journal = journal->directory,
                                           .checkpoints = checkpoints,
                                           .instance = journal->instance};
    memset(out, 0, sizeof(*out));
    for (;;) {
        int64_t segment = checkpoint_newest(&place, most);
        if (segment <= 0)
            return (int)segment;
        int result = count_accounts(&place, (uint32_t)segment, journal->names, out);
        if (result == 0)
            result = goes_on(journal, &out->head);
        if (result == 0)
            result = checkpoint_index_open(index, &place, (uint32_t)segment);
        if (result == 0) {
            journal->names->base = (uint32_t)segment;
            return 0;
        }
        checkpoint_index_close(index);
        checkpoint_clear(out);
        names_displace(journal->names);
        /* -ENOENT: the segment behind it has left the journal, since later ones were made. */
        if (result != -EBADMSG && result != -EIO && result != -ENOENT)
            return result;
        most =
            (uint32_t)segment - 1; /* the journal has all that an unreadable one covers, or the one
                                         before it, which is kept as long as it is needed */
    }
}
