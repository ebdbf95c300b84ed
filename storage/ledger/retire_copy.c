/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies a lane to another file system, and verifies the copy. retire.c calls it. A lane is a directory of
 * files and one directory of files, `journal`.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/file_write.h"
#include "storage/ledger/journal.h"
#include "storage/ledger/names.h"
#include "storage/ledger/retire_internal.h"
#include "storage/ledger/verify.h"

#define PIECE_BYTES   ((size_t)1 << 20)
#define FILES_HINT    4096
#define LOCK_TRIES    10
#define LOCK_PAUSE_MS 10

int retire_lock(int directory, unsigned number)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    char path[LANE_NAME_SIZE + 8], lane[LANE_NAME_SIZE];
    lane_name(number, lane);
    snprintf(path, sizeof(path), "%s/lock", lane);
    int fd = openat(directory, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    /* Whoever looks whether it is held has it for a moment. */
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        int error = errno;
        if (error != EWOULDBLOCK || i == LOCK_TRIES) {
            close(fd);
            return -error;
        }
        (void)nanosleep(&pause, NULL);
    }
    return fd;
}

/* ---- each file of a directory ---- */

typedef int each_file(struct retire *retire, int directory, const char *name);

/* Calls `each` with each entry of the open directory but dots. 0, or what the first one that failed says. */
static int walk(struct retire *retire, int directory, each_file *each)
{
    int own = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = own < 0 ? NULL : fdopendir(own);
    int result = 0;
    if (list == NULL) {
        int error = errno;
        if (own >= 0)
            close(own);
        return -error;
    }
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(list)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = each(retire, directory, entry->d_name);
    closedir(list);
    return result;
}

/* The entry as a directory, or -ENOTDIR, or another negative errno. */
static int enter(int directory, const char *name)
{
    int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

/* ---- the owner ---- */

static int give(struct retire *retire, int directory, const char *name)
{
    int inside = enter(directory, name);
    int result = inside >= 0 ? walk(retire, inside, give) : inside == -ENOTDIR ? 0 : inside;
    if (inside >= 0)
        close(inside);
    if (result == 0 &&
        fchownat(directory, name, retire->uid, retire->gid, AT_SYMLINK_NOFOLLOW) != 0)
        result = -errno;
    return result;
}

int retire_give(const struct retire *retire, int parent, const char *name)
{
    struct retire with = *retire;
    return geteuid() == 0 ? give(&with, parent, name) : 0;
}

/* ---- what an interrupted copy has left ---- */

static int discard(struct retire *retire, int directory, const char *name)
{
    int inside = enter(directory, name);
    if (inside == -ENOENT)
        return 0;
    int result = inside >= 0 ? walk(retire, inside, discard) : inside == -ENOTDIR ? 0 : inside;
    if (result == 0 && unlinkat(directory, name, inside >= 0 ? AT_REMOVEDIR : 0) != 0)
        result = -errno;
    if (inside >= 0)
        close(inside);
    return result;
}

/* ---- the copy ---- */

static int copy_bytes(struct retire *retire, int from, int to)
{
    char *piece = malloc(PIECE_BYTES);
    int result = piece == NULL ? -ENOMEM : 0;
    uint64_t copied = 0;
    while (result == 0) {
        ssize_t got = read(from, piece, PIECE_BYTES);
        if (got == 0)
            break;
        result = got < 0 ? -errno : file_write_all(to, piece, (size_t)got);
        copied += got > 0 ? (uint64_t)got : 0;
        retire_step(retire, copied);
    }
    free(piece);
    /* So that what is verified is what the disk has. */
    if (result == 0 && (fsync(to) != 0 || posix_fadvise(to, 0, 0, POSIX_FADV_DONTNEED) != 0))
        result = -EIO;
    return result;
}

static int copy_file(struct retire *retire, int from, const char *name, int to)
{
    int source = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int target = source < 0 ? -1 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int result = source < 0 || target < 0 ? -errno : copy_bytes(retire, source, target);
    if (target >= 0 && close(target) != 0 && result == 0)
        result = -errno;
    if (source >= 0)
        close(source);
    return result;
}

/* Copies the files of an open directory, and of the directories in it, which have files alone. */
static int copy_into(struct retire *retire, int from, int to, bool has_directories)
{
    int own = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = own < 0 ? NULL : fdopendir(own);
    int result = 0;
    if (list == NULL) {
        int error = errno;
        if (own >= 0)
            close(own);
        return -error;
    }
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(list)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int inside = has_directories ? enter(from, entry->d_name) : -ENOTDIR;
        if (inside < 0) {
            result = copy_file(retire, from, entry->d_name, to);
            continue;
        }
        int made = mkdirat(to, entry->d_name, 0700) == 0 ? enter(to, entry->d_name) : -errno;
        result = made < 0 ? made : copy_into(retire, inside, made, false);
        if (made >= 0)
            close(made);
        close(inside);
    }
    closedir(list);
    return result == 0 && fsync(to) != 0 ? -errno : result;
}

/* ---- whether it is what was copied ---- */

static int look(const struct retire *retire, int lane, struct ledger_verification *out)
{
    char said[600] = "";
    uint8_t instance[JOURNAL_ID_BYTES];
    struct names names;
    int journal = enter(lane, "journal");
    int result = journal < 0 ? journal : names_init(&names, FILES_HINT, FILES_HINT);
    *out = (struct ledger_verification){0};
    for (size_t i = 0; i < JOURNAL_ID_BYTES; i++) {
        const char digits[] = {retire->instance[2 * i], retire->instance[2 * i + 1], '\0'};
        instance[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    if (result != 0) {
        if (journal >= 0)
            close(journal);
        return result;
    }
    result =
        journal_verify(&ledger_system_disk, &names, journal, instance, out, said, sizeof(said));
    names_free(&names);
    return result;
}

static int compare(const struct retire *retire, int from, int to)
{
    struct ledger_verification of_lane, of_copy;
    int result = look(retire, from, &of_lane);
    if (result == 0)
        result = look(retire, to, &of_copy);
    if (result != 0)
        return result;
    return of_copy.chain == of_lane.chain && of_copy.records == of_lane.records &&
                   of_copy.segment == of_lane.segment && of_copy.position == of_lane.position &&
                   of_copy.torn == of_lane.torn
               ? 0
               : -EBADMSG;
}

int retire_copy(struct retire *retire, const char *name)
{
    int result = discard(retire, retire->to, name);
    if (result == 0 && mkdirat(retire->to, name, 0700) != 0)
        result = -errno;
    int from = enter(retire->from, retire->lane), to = result == 0 ? enter(retire->to, name) : -1;
    if (result == 0)
        result = from < 0 || to < 0 ? -EIO : copy_into(retire, from, to, true);
    if (result == 0)
        result = compare(retire, from, to);
    if (result == 0)
        result = retire_give(retire, retire->to, name);
    if (result == 0 && fsync(retire->to) != 0)
        result = -errno;
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return result;
}
