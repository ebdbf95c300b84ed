/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of windows share: a table over a ledger whose Redis never answers, because a
 * window needs the journal alone. The functions assert that their
 * own steps succeed, so that a test holds only its subject.
 */
#ifndef TOLLGATE_TESTS_WINDOW_FIXTURE_H
#define TOLLGATE_TESTS_WINDOW_FIXTURE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/grant/window.h"
#include "storage/ledger/ledger_internal.h"

#define SIZE 1000 /* bytes of each file */

static char directory[] = "/tmp/tollgate-windows-XXXXXX";
static struct ledger *ledger;
static struct windows *windows;
static struct ledger_file *file, *other_file;

/* Makes a table for `capacity` windows, of which at most `most` are open at once. Where `outside` is
 * not NULL, the ledger has no threads, and that in place of clocks, disk and Redis. */
static inline void start_in(const struct ledger_outside *outside, uint64_t capacity, uint64_t most)
{
    char error[512] = "", state[64];
    cr_assert_not_null(mkdtemp(directory));
    snprintf(state, sizeof(state), "%s/state", directory);
    const struct ledger_options options = {
        .state_dir = state,
        .node = "n",
        .redis = "unix:/nonexistent/redis.sock",       /* a window needs the journal alone */
        .segment_bytes = (most / 512 + 1) * (1 << 20), /* 1,920 bytes are reserved for each */
        .mark_ms = 1000,
        .downloads_max = (uint32_t)most,
        .accounts_max = (uint32_t)most,
        .lease_ms = 3000,
    };
    int status = outside == NULL
                     ? ledger_open(&ledger, &options, error, sizeof(error))
                     : ledger_open_stepped(&ledger, &options, outside, error, sizeof(error));
    cr_assert_eq(status, 0, "%s", error);
    cr_assert_eq(windows_create(&windows, ledger, capacity), 0);
    cr_assert_eq(ledger_file_get(ledger, "/f", 2, &file), 0);
    cr_assert_eq(ledger_file_get(ledger, "/g", 2, &other_file), 0);
}

static inline void start(uint64_t capacity, uint64_t most)
{
    start_in(NULL, capacity, most);
}

static inline int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status, (void)type, (void)at;
    return remove(path);
}

static inline void stop(void)
{
    windows_destroy(&windows);
    ledger_file_drop(&file);
    ledger_file_drop(&other_file);
    (void)ledger_close(&ledger, 0);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct ledger_account *account(const char *name)
{
    struct ledger_account *out = NULL;
    cr_assert_eq(ledger_account_get(ledger, "shop", name, strlen(name), &out), 0);
    return out;
}

static inline struct window *open_window(struct ledger_account *of, uint64_t link,
                                         struct ledger_file *name)
{
    unsigned char bytes[LEDGER_LINK_ID_BYTES] = {0};
    struct window *window = NULL;
    struct windows_made made;
    memcpy(bytes, &link, sizeof(link));
    const struct window_key key = {.link_id = bytes, .account = of, .file = name, .size = SIZE};
    cr_assert_eq(window_open(windows, &key, 1000, &window, &made), 0);
    return window;
}

/* A grant of a use that began then, of which so many bytes had arrived and a second is left. */
static inline void grant_use(struct window *window, uint64_t opened_ms, uint64_t acknowledged)
{
    const struct ledger_grant grant = {.opened_ms = opened_ms,
                                       .till_ms = opened_ms + 1000,
                                       .acknowledged = acknowledged,
                                       .left_ms = 1000};
    window_grant_use(windows, window, &grant, 1000, 100000);
}

/* Waits until the ledger has done away with a closed download and another one can be opened, which
 * its writer's thread decides; fails the test where that takes too long. */
static inline void await_room_for_a_download(struct ledger_account *of)
{
    struct window_use *use = NULL;
    for (int tries = 0; tries < 30000; tries++) {
        if (window_use_open(ledger, of, file, &use) == 0)
            break;
        (void)usleep(1000);
    }
    cr_assert_not_null(use, "the download was not closed");
    window_use_drop(&use);
}

#endif
