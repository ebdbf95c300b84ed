/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger tests' fixture: starts and kills redis-server, opens ledgers, reads journals. The
 * tests call it. Of the ledger it asserts no more than that it opens.
 */
#include "tests/unit/ledger/fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/redis_talk.h"
#include "storage/ledger/segment.h"

#define PATIENCE_MS 30000

void fixture_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void run(const char *const words[])
{
    pid_t child = fork();
    if (child == 0) {
        execvp(words[0], (char *const *)(uintptr_t)words);
        _exit(127);
    }
    int status = -1;
    waitpid(child, &status, 0);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s failed", words[0]);
}

void fixture_copy(const char *from, const char *to)
{
    run((const char *const[]){"cp", "-a", from, to, NULL});
}

void fixture_remove(const char *path)
{
    run((const char *const[]){"rm", "-rf", path, NULL});
}

void fixture_redis_start(struct fixture *fixture)
{
    fixture->redis = fork();
    cr_assert(fixture->redis >= 0);
    if (fixture->redis == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        if (fixture->clock != NULL) {
            char path[96];
            snprintf(path, sizeof(path), "%s/clock", fixture->directory);
            setenv("LD_PRELOAD", WALL_CLOCK, 1);
            setenv("CLOCK_STEP_FILE", path, 1);
        }
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", fixture->socket,
               "--save", "", "--appendonly", "no", "--dir", fixture->directory, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < PATIENCE_MS / 2; i++) {
        fixture->connection = redisConnectUnix(fixture->socket);
        if (fixture->connection != NULL && fixture->connection->err == 0) {
            redisReply *reply = redisCommand(fixture->connection, "PING");
            bool up = reply != NULL && reply->type == REDIS_REPLY_STATUS;
            if (reply != NULL)
                freeReplyObject(reply);
            if (up)
                return;
        }
        redisFree(fixture->connection);
        fixture->connection = NULL;
        fixture_pause();
    }
    cr_assert_fail("redis-server does not start");
}

void fixture_redis_kill(struct fixture *fixture)
{
    if (fixture->connection != NULL)
        redisFree(fixture->connection);
    fixture->connection = NULL;
    if (fixture->redis > 0) {
        kill(fixture->redis, SIGKILL);
        waitpid(fixture->redis, NULL, 0);
    }
    fixture->redis = 0;
    unlink(fixture->socket);
}

void fixture_redis_start_clock(struct fixture *fixture)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/clock", fixture->directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && ftruncate(fd, sizeof(*fixture->clock)) == 0);
    void *page = mmap(NULL, sizeof(*fixture->clock), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(page, MAP_FAILED);
    close(fd);
    fixture->clock = page;
    fixture_redis_kill(fixture);
    fixture_redis_start(fixture);
}

void fixture_redis_move_clock(struct fixture *fixture, int days)
{
    *fixture->clock += days * INT64_C(86400000000000);
}

static void print_event(void *context, enum ledger_event event, const char *kind, const char *text)
{
    (void)kind;
    (void)context;
    if (getenv("LEDGER_TEST_EVENTS") != NULL)
        fprintf(stderr, "event %d: %s\n", (int)event, text);
}

void fixture_start(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    signal(SIGPIPE, SIG_IGN);
    snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/tollgate-ledger-XXXXXX");
    cr_assert_not_null(mkdtemp(fixture->directory));
    snprintf(fixture->state, sizeof(fixture->state), "%s/state", fixture->directory);
    snprintf(fixture->socket, sizeof(fixture->socket), "%s/redis.sock", fixture->directory);
    snprintf(fixture->address, sizeof(fixture->address), "unix:%s", fixture->socket);
    fixture->options = (struct ledger_options){.state_dir = fixture->state,
                                               .node = "node-1",
                                               .redis = fixture->address,
                                               .segment_bytes = (uint64_t)1 << 20,
                                               .mark_ms = 10,
                                               .downloads_max = 64,
                                               .accounts_max = 1000,
                                               .lease_ms = 1500,
                                               .event = print_event};
    fixture_redis_start(fixture);
}

void fixture_end(struct fixture *fixture)
{
    if (fixture->ledger != NULL)
        fixture_close(fixture);
    fixture_redis_kill(fixture);
    fixture_remove(fixture->directory);
}

void fixture_open(struct fixture *fixture)
{
    char error[512];
    int result = ledger_open(&fixture->ledger, &fixture->options, error, sizeof(error));
    cr_assert(result == 0, "ledger_open: %d %s", result, error);
}

struct ledger *fixture_open_other(struct fixture *fixture)
{
    struct ledger *other;
    char error[512], state[128];
    struct ledger_options options = fixture->options;
    snprintf(state, sizeof(state), "%s/other", fixture->directory);
    options.state_dir = state;
    options.node = "node-2";
    cr_assert(ledger_open(&other, &options, error, sizeof(error)) == 0, "%s", error);
    while (ledger_state(other) != LEDGER_READY) /* the suite's timeout ends it */
        fixture_pause();
    return other;
}

bool fixture_reaches_state(struct fixture *fixture, enum ledger_state state, uint32_t timeout_ms)
{
    uint64_t end = clock_monotonic_ms() + timeout_ms;
    while (ledger_state(fixture->ledger) != state) {
        if (clock_monotonic_ms() > end)
            return false;
        fixture_pause();
    }
    return true;
}

void fixture_wait_state(struct fixture *fixture, enum ledger_state state)
{
    char text[512];
    if (fixture_reaches_state(fixture, state, PATIENCE_MS))
        return;
    ledger_state_text(fixture->ledger, text, sizeof(text));
    cr_assert_fail("state %d is not reached; it is %d: %s", (int)state,
                   (int)ledger_state(fixture->ledger), text);
}

void fixture_open_ready(struct fixture *fixture)
{
    fixture_open(fixture);
    fixture_wait_state(fixture, LEDGER_READY);
}

int64_t fixture_close(struct fixture *fixture)
{
    return ledger_close(&fixture->ledger, 30000);
}

redisReply *fixture_redis(struct fixture *fixture, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = redisvCommand(fixture->connection, format, arguments);
    va_end(arguments);
    cr_assert_not_null(reply, "Redis: %s", fixture->connection->errstr);
    return reply;
}

int64_t fixture_redis_integer(struct fixture *fixture, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = redisvCommand(fixture->connection, format, arguments);
    va_end(arguments);
    cr_assert_not_null(reply);
    int64_t value =
        reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) : reply->integer;
    freeReplyObject(reply);
    return value;
}

int64_t fixture_account_field(struct fixture *fixture, const char *tag, const char *field)
{
    return fixture_redis_integer(fixture, "HGET tg:{%s}:account %s", tag, field);
}

void fixture_function_load(struct fixture *fixture)
{
    freeReplyObject(fixture_redis(fixture, "FUNCTION LOAD REPLACE %s", redis_library_text()));
}

struct ledger_account *fixture_account(struct fixture *fixture, const char *name)
{
    struct ledger_account *account = NULL;
    cr_assert_eq(ledger_account_get(fixture->ledger, "shop", name, strlen(name), &account), 0);
    return account;
}

struct ledger_file *fixture_file(struct fixture *fixture, const char *path)
{
    struct ledger_file *file = NULL;
    cr_assert_eq(ledger_file_get(fixture->ledger, path, strlen(path), &file), 0);
    return file;
}

void fixture_deliver(struct fixture *fixture, const char *account, const char *path, uint64_t bytes)
{
    struct ledger_account *owner = fixture_account(fixture, account);
    struct ledger_file *file = fixture_file(fixture, path);
    struct ledger_download *download = NULL;
    cr_assert_eq(ledger_download_open(fixture->ledger, owner, file, &download), 0);
    ledger_download_add(download, bytes, 1);
    ledger_download_close(&download);
    cr_assert_null(download);
    ledger_account_drop(&owner);
    ledger_file_drop(&file);
}

int fixture_change(struct fixture *fixture, enum ledger_operation operation, const char *account,
                   int64_t amount, const char *transaction, bool *repeated)
{
    struct ledger_account_view view;
    struct ledger_request request = {.operation = operation,
                                     .issuer = "shop",
                                     .account = account,
                                     .plan = LEDGER_PREPAID,
                                     .amount = amount,
                                     .transaction = transaction};
    bool unused;
    return ledger_account_change(fixture->ledger, &request, repeated == NULL ? &unused : repeated,
                                 &view);
}

void fixture_read_journal(const char *state, struct fixture_sums *out)
{
    char path[160];
    struct names names;
    struct journal_reader reader;
    struct journal_entry entry;
    memset(out, 0, sizeof(*out));
    snprintf(path, sizeof(path), "%s/lane-a/journal", state);
    int directory = open(path, O_RDONLY | O_DIRECTORY);
    cr_assert(directory >= 0);
    cr_assert_eq(names_init(&names, 100000, 1000), 0);
    cr_assert_eq(reader_init(&reader, &ledger_system_disk, &names, directory), 0);
    for (uint32_t segment = 1; reader_enter(&reader, segment, reader.count, segment > 1) == 0;
         segment++) {
        int result;
        while ((result = reader_next(&reader, &entry)) == 1) {
            out->usage_records += entry.record.type == JOURNAL_USAGE;
            out->bytes += entry.record.bytes_delta;
            out->responses += entry.record.responses_delta;
            out->money += entry.record.amount;
        }
        cr_assert_eq(result, 0);
        out->segments += reader.index > 0;
    }
    out->records = reader.count;
    reader_free(&reader);
    names_free(&names);
    close(directory);
}

/* Adds up the values of the hash's fields that begin so. */
static uint64_t sum_fields(struct fixture *fixture, const char *key, const char *begin)
{
    uint64_t sum = 0;
    redisReply *all = fixture_redis(fixture, "HGETALL %s", key);
    for (size_t i = 0; i + 1 < all->elements; i += 2)
        if (strncmp(all->element[i]->str, begin, strlen(begin)) == 0)
            sum += strtoull(all->element[i + 1]->str, NULL, 10);
    freeReplyObject(all);
    return sum;
}

uint64_t fixture_redis_usage(struct fixture *fixture, const char *tag)
{
    char key[160];
    uint64_t days = 0, months = 0;
    redisReply *keys = fixture_redis(fixture, "KEYS tg:{%s}:usage:*", tag);
    for (size_t i = 0; i < keys->elements; i++) {
        const char *name = keys->element[i]->str;
        *(strlen(strrchr(name, ':')) == 9 ? &days : &months) += sum_fields(fixture, name, "b:");
    }
    freeReplyObject(keys);
    snprintf(key, sizeof(key), "tg:{%s}:account", tag);
    uint64_t all = sum_fields(fixture, key, "m:");
    cr_assert(days <= all && months <= all, "%s", tag);
    cr_assert(months == 0 || days == 0 || months == days, "%s", tag);
    return all;
}
