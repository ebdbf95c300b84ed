/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists the journals of an archive, and makes a lane of one. See restore.h.
 */
#include "storage/ledger/restore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/ledger/archive.h"
#include "storage/ledger/segment.h"

_Static_assert(sizeof(((struct ledger_archived *)NULL)->instance) == LEDGER_HEX_SIZE, "as lane.h");

/* ---- which there are ---- */

struct found {
    struct ledger_archived *journals; /* owns */
    unsigned count;
};

static int take_name(struct found *found, const char *name)
{
    char instance[LEDGER_HEX_SIZE];
    uint32_t number = archive_number(name, instance);
    unsigned at = 0;
    if (number == 0)
        return 0;
    while (at < found->count && strcmp(found->journals[at].instance, instance) != 0)
        at++;
    if (at == LEDGER_ARCHIVED_MAX)
        return -E2BIG;
    struct ledger_archived *journal = &found->journals[at];
    if (at == found->count) {
        found->count++;
        *journal = (struct ledger_archived){.first = number, .last = number};
        memcpy(journal->instance, instance, sizeof(instance));
    }
    journal->count++;
    journal->first = number < journal->first ? number : journal->first;
    journal->last = number > journal->last ? number : journal->last;
    return 0;
}

int ledger_archive_list(const char *archive, struct ledger_archived **out)
{
    struct found found = {.journals = calloc(LEDGER_ARCHIVED_MAX, sizeof(struct ledger_archived))};
    DIR *names = opendir(archive);
    int result = found.journals == NULL ? -ENOMEM : names == NULL ? -errno : 0;
    for (struct dirent *entry; result == 0 && names != NULL && (entry = readdir(names)) != NULL;)
        result = take_name(&found, entry->d_name);
    if (names != NULL)
        closedir(names);
    if (result != 0)
        free(found.journals);
    *out = result == 0 ? found.journals : NULL;
    return result == 0 ? (int)found.count : result;
}

/* ---- a lane of one ---- */

static int copy_segment(int from, int to, uint64_t size)
{
    off_t at = 0;
    while ((uint64_t)at < size) {
        ssize_t sent = sendfile(to, from, &at, (size_t)(size - (uint64_t)at));
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return sent < 0 ? -errno : -EIO;
    }
    return fsync(to) == 0 ? 0 : -errno;
}

static int unpack_last(int archive, const struct ledger_archived *archived, int journal)
{
    char name[SEGMENT_NAME_MAX];
    uint64_t size;
    segment_name(archived->last, name);
    int from = archive_unpack(archive, archived->instance, archived->last, &size);
    if (from < 0)
        return from;
    int to = openat(journal, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int result = to < 0 ? -errno : copy_segment(from, to, size);
    if (to >= 0)
        close(to);
    close(from);
    return result;
}

static int write_id(int directory, const char *name, const char *id)
{
    char line[LEDGER_HEX_SIZE + 1];
    int length = snprintf(line, sizeof(line), "%s\n", id);
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int result = fd < 0 ? -errno : write(fd, line, (size_t)length) == length ? 0 : -EIO;
    if (fd >= 0)
        close(fd);
    return result;
}

static int make_directory(int parent, const char *name)
{
    int fd = mkdirat(parent, name, 0700) != 0
                 ? -1
                 : openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int make_lane(int archive, const struct ledger_archived *archived, int state)
{
    char name[LANE_NAME_SIZE];
    lane_name(0, name);
    int lane = make_directory(state, name);
    int journal = lane < 0 ? lane : make_directory(lane, "journal");
    int result = journal < 0 ? journal : write_id(lane, "instance", archived->instance);
    /* The same with each call, so that the node's name in Redis stays one. */
    if (result == 0)
        result = write_id(state, "directory", archived->instance);
    if (result == 0)
        result = unpack_last(archive, archived, journal);
    if (journal >= 0)
        close(journal);
    if (lane >= 0)
        close(lane);
    return result;
}

int ledger_archive_restore(const char *archive, const struct ledger_archived *archived,
                           const char *state_dir, char *error, size_t error_size)
{
    if (archived->first != 1 || archived->count != archived->last) {
        snprintf(error, error_size,
                 "%s has the segments %" PRIu32 " to %" PRIu32
                 " of %s, and not all from 1 on, so that nobody "
                 "knows what they follow; bring the others back, or the state directory of its "
                 "node, whose "
                 "checkpoints say it",
                 archive, archived->first, archived->last, archived->instance);
        return -ENODATA;
    }
    int from = open(archive, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = from < 0 || state < 0 ? -errno : make_lane(from, archived, state);
    if (from >= 0)
        close(from);
    if (state >= 0)
        close(state);
    if (result != 0)
        snprintf(error, error_size, "the last segment of %s in %s cannot be unpacked to %s: %s; %s",
                 archived->instance, archive, state_dir, strerrordesc_np(-result),
                 result == -EBADMSG ? "its file is damaged: take another copy of the archive"
                                    : segment_cure(-result));
    return result;
}
