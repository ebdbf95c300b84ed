/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves a stopped node's lanes into another node's state directory. See retire.h. What it has begun stands in
 * DIRECTORY/.retired, a line for each lane before it moves, "INSTANCE STATE_DIR"; where a lane is by now, the
 * directories themselves say. retire_copy.c copies where a rename cannot.
 */
#include "storage/ledger/retire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/ledger/lane.h"
#include "storage/ledger/retire_internal.h"

#define NOTES      ".retired"
#define LANE_FIRST 1 /* lane-a is the node's own, also where it has not started yet */

int retire_refuse(struct retire *retire, int result, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (retire->error[0] == '\0')
        vsnprintf(retire->error, retire->error_size, format, arguments);
    va_end(arguments);
    return result;
}

/* ---- where a lane is ---- */

/* The instance of a lane; false where there is none. */
static bool instance_of(const char *directory, unsigned number, char out[LEDGER_HEX_SIZE])
{
    uint8_t id[JOURNAL_ID_BYTES];
    int journal = -1;
    if (lane_look(directory, number, id, &journal) != 0)
        return false;
    close(journal);
    lane_to_hex(id, out);
    return true;
}

bool ledger_has_lane(const char *directory, const char *instance)
{
    char found[LEDGER_HEX_SIZE];
    for (unsigned number = 0; number < LANES_MAX; number++)
        if (instance_of(directory, number, found) && strcmp(found, instance) == 0)
            return true;
    return false;
}

/* ---- the notes ---- */

/* Calls `each` with each note; a line that is cut was never acted on. */
static int read_notes(struct retire *retire,
                      int (*each)(struct retire *retire, const char *instance, const char *where))
{
    char line[PATH_MAX + LEDGER_HEX_SIZE + 2], instance[LEDGER_HEX_SIZE];
    int fd = openat(retire->from, NOTES, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    int result = 0;
    if (file == NULL)
        return fd < 0 && errno == ENOENT ? 0 : -errno;
    while (result == 0 && fgets(line, sizeof(line), file) != NULL) {
        size_t length = strlen(line);
        if (line[length - 1] != '\n' || sscanf(line, "%32s ", instance) != 1 ||
            strlen(instance) != LEDGER_HEX_SIZE - 1 || length <= LEDGER_HEX_SIZE + 1)
            continue;
        line[length - 1] = '\0';
        result = each(retire, instance, line + LEDGER_HEX_SIZE);
    }
    (void)fclose(file);
    return result;
}

static int write_note(struct retire *retire, const char *instance)
{
    char line[PATH_MAX + LEDGER_HEX_SIZE + 3];
    /* A line that a crash has cut ends here. */
    int length = snprintf(line, sizeof(line), "\n%s %s\n", instance, retire->state_path);
    int fd =
        openat(retire->from, NOTES, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool written = fd >= 0 && write(fd, line, (size_t)length) == length && fsync(fd) == 0;
    int error = errno != 0 ? errno : EIO;
    if (fd >= 0)
        close(fd);
    if (written && fsync(retire->from) == 0)
        return 0;
    return retire_refuse(retire, -error, "%s/" NOTES ": %s; make room, and check its permissions",
                         retire->directory, strerrordesc_np(error));
}

static int match_note(struct retire *retire, const char *instance, const char *where)
{
    (void)where;
    retire->is_noted = retire->is_noted || strcmp(instance, retire->instance) == 0;
    return 0;
}

/* ---- one lane ---- */

/* Gives the lane in `parent` the first free name, or returns what rename says. */
static int place(struct retire *retire, int parent, const char *name)
{
    char lane[LANE_NAME_SIZE];
    for (unsigned number = LANE_FIRST; number < LANES_MAX; number++) {
        lane_name(number, lane);
        if (renameat2(parent, name, retire->to, lane, RENAME_NOREPLACE) == 0)
            return fsync(retire->to) == 0 && fsync(parent) == 0 ? 0 : -errno;
        if (errno != EEXIST && errno != ENOTEMPTY)
            return -errno;
    }
    return retire_refuse(retire, -ENOSPC, "%s has no free lane of its %u; choose another node",
                         retire->state_path, LANES_MAX);
}

static int move_lane(struct retire *retire)
{
    char beside[LEDGER_HEX_SIZE + 16];
    int result = retire_give(retire, retire->from, retire->lane);
    retire_step(retire, 0);
    if (result == 0)
        result = place(retire, retire->from, retire->lane);
    if (result == -EXDEV) {
        snprintf(beside, sizeof(beside), ".retiring-%s", retire->instance);
        result = retire_copy(retire, beside);
        retire_step(retire, 0);
        if (result == 0)
            result = place(retire, retire->to, beside);
    }
    return result;
}

/* The original of a copy is a lane no longer, since a node that ran with it would be another with the same
 * instance. */
static int put_aside(struct retire *retire)
{
    char aside[LEDGER_HEX_SIZE + 16];
    snprintf(aside, sizeof(aside), ".retired-%s", retire->instance);
    if (faccessat(retire->from, retire->lane, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    retire_step(retire, 0);
    if (renameat2(retire->from, retire->lane, retire->from, aside, RENAME_NOREPLACE) != 0 ||
        fsync(retire->from) != 0)
        return -errno;
    return 0;
}

static int retire_lane(struct retire *retire)
{
    bool is_there = ledger_has_lane(retire->state_path, retire->instance);
    retire->is_noted = false;
    int result = read_notes(retire, match_note);
    if (result == 0 && is_there && !retire->is_noted)
        return retire_refuse(
            retire, -EEXIST,
            "%s/%s is a copy of a lane that %s has already; nothing is to be retired "
            "of a copy",
            retire->directory, retire->lane, retire->state_path);
    if (result == 0 && !retire->is_noted)
        result = write_note(retire, retire->instance);
    if (result == 0 && !is_there)
        result = move_lane(retire);
    if (result == 0)
        result = put_aside(retire);
    retire->out->moved += result == 0;
    return result != 0 ? retire_refuse(retire, result,
                                       "%s/%s cannot be moved to %s: %s; run this "
                                       "again once that is mended",
                                       retire->directory, retire->lane, retire->state_path,
                                       strerrordesc_np(-result))
                       : 0;
}

/* ---- all lanes ---- */

/* Keeps the lane's node from starting until the lane has moved. */
static int lock_lane(struct retire *retire, unsigned number)
{
    char error[64];
    retire->locks[number] = retire_lock(retire->from, number);
    int result = retire->locks[number] < 0 ? retire->locks[number] : 0;
    snprintf(error, sizeof(error), "%s", strerrordesc_np(-result));
    if (result == -EWOULDBLOCK)
        return retire_refuse(retire, -EALREADY,
                             "a process uses %s; stop that node first (`tollgate node drain`, then "
                             "its service)",
                             retire->directory);
    return result != 0 ? retire_refuse(retire, result,
                                       "%s: its lock: %s; run this as root, or as the "
                                       "user of both nodes",
                                       retire->directory, error)
                       : 0;
}

static int each_lane(struct retire *retire, bool moves)
{
    int result = 0;
    for (unsigned number = 0; number < LANES_MAX && result == 0; number++) {
        if (!instance_of(retire->directory, number, retire->instance))
            continue;
        lane_name(number, retire->lane);
        result = moves ? retire_lane(retire) : lock_lane(retire, number);
    }
    return result;
}

/* Counts what is the state directory's by now. */
static int count_note(struct retire *retire, const char *instance, const char *where)
{
    struct ledger_retirement *out = retire->out;
    for (unsigned i = 0; i < out->count; i++)
        if (strcmp(out->instances[i], instance) == 0)
            return 0;
    if (out->count == LEDGER_LANES_MAX)
        return 0;
    if (!ledger_has_lane(retire->state_path, instance))
        return retire_refuse(retire, -EINVAL,
                             "%s was retired into %s; name the configuration of that node",
                             retire->directory, where);
    snprintf(out->instances[out->count++], LEDGER_INSTANCE_SIZE, "%s", instance);
    return 0;
}

static int open_both(struct retire *retire, const char *state_dir)
{
    struct stat from, to;
    retire->from = open(retire->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (retire->from < 0)
        return retire_refuse(retire, -errno, "%s: %s; name the state directory of a stopped node",
                             retire->directory, strerrordesc_np(errno));
    retire->to = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (retire->to < 0 || realpath(state_dir, retire->state_path) == NULL)
        return retire_refuse(retire, -errno, "%s: %s; start the node that is to take over once",
                             state_dir, strerrordesc_np(errno));
    if (fstat(retire->from, &from) != 0 || fstat(retire->to, &to) != 0)
        return -errno;
    if (from.st_dev == to.st_dev && from.st_ino == to.st_ino)
        return retire_refuse(retire, -EINVAL,
                             "%s is this node's own state directory; name that of the node that is "
                             "to go",
                             retire->directory);
    retire->uid = to.st_uid;
    retire->gid = to.st_gid;
    return 0;
}

int ledger_retire(const char *directory, const char *state_dir, struct ledger_retirement *out,
                  char *error, size_t error_size)
{
    struct retire retire = {.directory = directory,
                            .out = out,
                            .error = error,
                            .error_size = error_size,
                            .from = -1,
                            .to = -1};
    *out = (struct ledger_retirement){.progress = out->progress, .context = out->context};
    error[0] = '\0';
    for (unsigned i = 0; i < LANES_MAX; i++)
        retire.locks[i] = -1;
    int result = open_both(&retire, state_dir);
    if (result == 0)
        result = each_lane(&retire, false);
    if (result == 0)
        result = each_lane(&retire, true);
    if (result == 0)
        result = read_notes(&retire, count_note);
    if (result == 0 && out->count == 0)
        result = retire_refuse(&retire, -ENOENT,
                               "%s has no journal in a lane (lane-a, lane-b, ...); name the state "
                               "directory of a stopped node",
                               directory);
    for (unsigned i = 0; i < LANES_MAX; i++)
        if (retire.locks[i] >= 0)
            close(retire.locks[i]);
    if (retire.from >= 0)
        close(retire.from);
    if (retire.to >= 0)
        close(retire.to);
    return result != 0 ? retire_refuse(&retire, result, "%s: %s; run this again", directory,
                                       strerrordesc_np(-result))
                       : 0;
}
