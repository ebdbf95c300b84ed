/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locking a lane of a state directory, making what it needs, and moving a directory of before into
 * its first lane. See lane.h.
 */
#include "storage/ledger/lane.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES    10
#define LOCK_PAUSE_MS 10

struct refusal {
    char *error;
    size_t error_size;
};

static int refuse(const struct refusal *refusal, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(const struct refusal *refusal, int result, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(refusal->error, refusal->error_size, format, arguments);
    va_end(arguments);
    return result;
}

void lane_name(unsigned number, char out[LANE_NAME_SIZE])
{
    snprintf(out, LANE_NAME_SIZE, "lane-%c", (char)('a' + (int)(number % LANES_MAX)));
}

void lane_init(struct lane *lane)
{
    memset(lane, 0, sizeof(*lane));
    lane->state = lane->directory = lane->lock = lane->journal = lane->checkpoints = -1;
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void lane_close(struct lane *lane)
{
    close_one(&lane->journal);
    close_one(&lane->checkpoints);
    close_one(&lane->lock);
    close_one(&lane->directory);
    close_one(&lane->state);
}

static int make_directory(int parent, const char *path)
{
    if (mkdirat(parent, path, 0700) != 0 && errno != EEXIST)
        return -errno;
    int fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Whoever looks whether the lock is held has it for a moment (is_locked), which is waited for. */
static int lock_now(int fd)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    int result = flock(fd, LOCK_EX | LOCK_NB);
    for (int i = 0; i < LOCK_TRIES && result != 0 && errno == EWOULDBLOCK; i++) {
        (void)nanosleep(&pause, NULL);
        result = flock(fd, LOCK_EX | LOCK_NB);
    }
    return result;
}

/* Opens and locks the file `name`; `path` is what the message calls its directory. */
static int take_lock(int directory, const char *name, const char *path, int *out,
                     const struct refusal *refusal)
{
    *out = openat(directory, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*out < 0)
        return refuse(refusal, -errno, "%s/%s: %s; check its owner and permissions", path, name,
                      strerrordesc_np(errno));
    if (lock_now(*out) != 0)
        return refuse(refusal, errno == EWOULDBLOCK ? -EALREADY : -errno,
                      "state directory %s is in use by another process; stop it, or choose another",
                      path);
    return 0;
}

/* ---- a state directory of before ---- */

static bool is_there(int directory, const char *name)
{
    return faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The first lane that no process has had: the lock moves last, so it is also the one into which an
 * earlier attempt has moved a part. */
static int unused_lane(int state, char name[LANE_NAME_SIZE])
{
    char lock[LANE_NAME_SIZE + 8];
    for (unsigned number = 0; number < LANES_MAX; number++) {
        lane_name(number, name);
        snprintf(lock, sizeof(lock), "%s/lock", name);
        if (!is_there(state, lock))
            return 0;
    }
    return -ENOSPC;
}

static int move_into(int state, int lane, const char *name)
{
    return renameat(state, name, lane, name) == 0 || errno == ENOENT ? 0 : -errno;
}

static int move_all(int state, const char *name)
{
    static const char *const parts[] = {"instance", "journal", "lock"};
    int lane = make_directory(state, name);
    int result = lane < 0 ? lane : 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && result == 0; i++) {
        result = move_into(state, lane, parts[i]);
        if (result == 0 && (fsync(lane) != 0 || fsync(state) != 0))
            result = -errno;
    }
    close_one(&lane);
    return result;
}

/* The lock moves last, and is held meanwhile: whoever opened it at its old place has the same file. */
static int adopt(int state, const char *path, const struct refusal *refusal)
{
    char name[LANE_NAME_SIZE];
    int lock = -1;
    if (!is_there(state, "lock") && !is_there(state, "instance") && !is_there(state, "journal"))
        return 0;
    int result = take_lock(state, "lock", path, &lock, refusal);
    if (result == 0) {
        result = unused_lane(state, name);
        if (result == 0)
            result = move_all(state, name);
        if (result != 0)
            refuse(
                refusal, result,
                "%s: its journal cannot be moved into a lane: %s; check its owner and permissions",
                path, strerrordesc_np(-result));
    }
    close_one(&lock);
    return result;
}

/* ---- the lock ---- */

int lane_lock(struct lane *lane, const char *state_dir, unsigned number, char *error,
              size_t error_size)
{
    const struct refusal refusal = {error, error_size};
    lane->number = number;
    lane_name(number, lane->name);
    lane->state = make_directory(AT_FDCWD, state_dir);
    if (lane->state < 0)
        return refuse(&refusal, lane->state,
                      "state directory %s: %s; make its parent, or choose another", state_dir,
                      strerrordesc_np(-lane->state));
    int result = adopt(lane->state, state_dir, &refusal);
    if (result != 0)
        return result;
    lane->directory = make_directory(lane->state, lane->name);
    if (lane->directory < 0)
        return refuse(&refusal, lane->directory, "%s/%s: %s; check its owner and permissions",
                      state_dir, lane->name, strerrordesc_np(-lane->directory));
    return take_lock(lane->directory, "lock", state_dir, &lane->lock, &refusal);
}

static int open_lock(const char *state_dir, const char *where)
{
    char path[4200];
    if (snprintf(path, sizeof(path), "%s%s/lock", state_dir, where) >= (int)sizeof(path))
        return -1;
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

static int open_lock_of(const char *state_dir, unsigned number)
{
    char where[LANE_NAME_SIZE + 1] = "/";
    lane_name(number, where + 1);
    return open_lock(state_dir, where);
}

bool lane_exists(const char *state_dir, unsigned number)
{
    int fd = open_lock_of(state_dir, number);
    bool exists = fd >= 0;
    close_one(&fd);
    return exists;
}

/* Whether a process holds the lock; closes it. */
static bool is_locked(int fd)
{
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
    close_one(&fd);
    return locked;
}

bool lane_is_locked(const char *state_dir, unsigned number)
{
    return is_locked(open_lock_of(state_dir, number));
}

bool ledger_is_running(const char *state_dir)
{
    bool running = is_locked(open_lock(state_dir, "")); /* of before */
    for (unsigned number = 0; number < LANES_MAX && !running; number++)
        running = lane_is_locked(state_dir, number);
    return running;
}

void lane_place(const struct lane *lane, struct ledger_place *out)
{
    struct stat status;
    memset(out, 0, sizeof(*out));
    if (fstat(lane->lock, &status) == 0) {
        out->device = status.st_dev;
        out->inode = status.st_ino;
    }
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, out->boot, sizeof(out->boot) - 1);
    close_one(&fd);
    out->boot[length > 0 ? strcspn(out->boot, "\n") : 0] = '\0';
    if (out->boot[0] == '\0') {
        uint8_t unknown[JOURNAL_ID_BYTES] = {0};
        (void)!getrandom(unknown, sizeof(unknown), 0);
        lane_to_hex(unknown, out->boot);
    }
}

/* ---- ids ---- */

void lane_to_hex(const uint8_t id[JOURNAL_ID_BYTES], char out[LEDGER_HEX_SIZE])
{
    for (size_t i = 0; i < JOURNAL_ID_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", id[i]);
}

static bool from_hex(const char *text, uint8_t out[JOURNAL_ID_BYTES])
{
    if (strspn(text, "0123456789abcdef") != 2 * (size_t)JOURNAL_ID_BYTES)
        return false;
    for (size_t i = 0; i < JOURNAL_ID_BYTES; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return true;
}

/* Reads the file of an id. 0, -ENOENT, or -EBADMSG. */
static int read_id(int directory, const char *name, uint8_t out[JOURNAL_ID_BYTES])
{
    char text[LEDGER_HEX_SIZE + 1] = {0};
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ENOENT : -EBADMSG;
    ssize_t length = read(fd, text, LEDGER_HEX_SIZE);
    close(fd);
    return length == LEDGER_HEX_SIZE && text[LEDGER_HEX_SIZE - 1] == '\n' && from_hex(text, out)
               ? 0
               : -EBADMSG;
}

/* Makes the file of a random id, which is there in full or not at all. */
static int make_id(int directory, const char *name)
{
    char beside[16];
    char text[LEDGER_HEX_SIZE + 1];
    uint8_t id[JOURNAL_ID_BYTES] = {0};
    if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
        return -EIO;
    lane_to_hex(id, text);
    text[LEDGER_HEX_SIZE - 1] = '\n';
    snprintf(beside, sizeof(beside), "%s.new", name);
    int fd = openat(directory, beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool made = fd >= 0 && write(fd, text, LEDGER_HEX_SIZE) == LEDGER_HEX_SIZE && fsync(fd) == 0;
    int error = errno;
    close_one(&fd);
    if (!made)
        return -error;
    return renameat(directory, beside, directory, name) == 0 && fsync(directory) == 0 ? 0 : -errno;
}

static int find_id(int directory, const char *name, const char *path, uint8_t out[JOURNAL_ID_BYTES],
                   const struct refusal *refusal)
{
    int result = read_id(directory, name, out);
    if (result == -ENOENT) {
        result = make_id(directory, name);
        if (result != 0)
            return refuse(refusal, result, "%s/%s: %s; make room, and check its permissions", path,
                          name, strerrordesc_np(-result));
        result = read_id(directory, name, out);
    }
    if (result != 0)
        return refuse(refusal, -EBADMSG,
                      "%s/%s is not 32 hexadecimal digits and a newline; restore it from a copy",
                      path, name);
    return 0;
}

int lane_look(const char *state_dir, unsigned number, uint8_t instance[JOURNAL_ID_BYTES],
              int *journal)
{
    char path[4200], name[LANE_NAME_SIZE];
    lane_name(number, name);
    if (snprintf(path, sizeof(path), "%s/%s", state_dir, name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return -errno;
    int result = read_id(directory, "instance", instance);
    *journal = openat(directory, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (result == -ENOENT && *journal >= 0 && is_there(*journal, "00000001.seg"))
        result = -EBADMSG;
    else if (result == 0 && *journal < 0)
        result = errno == ENOENT ? -EBADMSG : -errno;
    close(directory);
    if (result != 0)
        close_one(journal);
    return result;
}

int lane_enter(struct lane *lane, const char *state_dir, char *error, size_t error_size)
{
    const struct refusal refusal = {error, error_size};
    char path[4200];
    uint8_t id[JOURNAL_ID_BYTES] = {0};
    snprintf(path, sizeof(path), "%s/%s", state_dir, lane->name);
    int made = lane->journal = make_directory(lane->directory, "journal");
    if (made >= 0)
        made = lane->checkpoints = make_directory(lane->directory, "checkpoints");
    if (made < 0 || fsync(lane->directory) != 0 || fsync(lane->state) != 0) {
        int result = made < 0 ? made : -errno;
        return refuse(&refusal, result, "%s/%s: %s; check its owner and permissions", path,
                      lane->journal < 0 ? "journal" : "checkpoints", strerrordesc_np(-result));
    }
    if (!is_there(lane->directory, "instance") && is_there(lane->journal, "00000001.seg"))
        return refuse(
            &refusal, -EBADMSG,
            "%s/instance is missing beside a journal; restore the state directory from a copy",
            path);
    int result = find_id(lane->directory, "instance", path, lane->instance, &refusal);
    if (result == 0)
        result = find_id(lane->state, "directory", state_dir, id, &refusal);
    if (result == 0)
        lane_to_hex(id, lane->state_id);
    return result;
}
