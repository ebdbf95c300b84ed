/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals for the node's own reasons: each is brought about in a site of its own, because the node
 * is of no use for another test afterwards. The table in explain_test.c calls them.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/integration/explain_steps.h"

void without_redis(void)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_prepaid(site, "alice", 10000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    site_redis_kill(site);
    await_refused(site, NULL, link, REFUSAL_REDIS_UNAVAILABLE);
    expect_explained(site, NULL, link, REFUSAL_REDIS_UNAVAILABLE);
    site_destroy(&site);
}

void with_all_windows_open(void)
{
    struct site *site =
        site_create(.settings = "windows_max: 2\njournal_segment_bytes: 262144\nworkers: 1\n");
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    for (int i = 0; i < 2; i++)
        hold(site, site_link(site, .account = "alice", .path = TRACK_LONG,
                             .jti = site_format(site, "held-%d", i), .limits = {.rate = 100000}));
    expect_same(site, NULL, site_link(site, .account = "alice", .path = TRACK_TINY),
                REFUSAL_NODE_BUSY);
    let_go();
    site_destroy(&site);
}

void with_all_connections_taken(void)
{
    struct site *site = site_create(.settings = "connections_max: 1\nworkers: 1\n");
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    hold(site, link);
    /* A connection beyond the limit is refused before it sends a request, with a status alone. */
    int fd = raw_connect(site, 0);
    cr_expect_eq(raw_answer(site, fd, false)->status,
                 refusal_statuses[REFUSAL_CONNECTIONS_EXHAUSTED]);
    close(fd);
    expect_explained(site, NULL, link, REFUSAL_CONNECTIONS_EXHAUSTED);
    let_go();
    site_destroy(&site);
}

/* Another node has taken this one's name, so it answers but serves nothing. */
void with_anothers_name(void)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_prepaid(site, "alice", 10000000);
    site_redis_command(site, "HSET tg:node:{test-node} directory 00000000000000000000000000000000");
    expect_same(site, NULL, site_link(site, .account = "alice", .path = TRACK_TINY),
                REFUSAL_NODE_STARTING);
    site_destroy(&site);
}

void while_it_is_drained(void)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 10000000);
    cr_assert_eq(site_admin(site, "PUT", "/v1/node", "{\"draining\":true}")->status, 200);
    expect_same(site, NULL, site_link(site, .account = "alice", .path = TRACK_TINY),
                REFUSAL_NODE_DRAINING);
    site_destroy(&site);
}

void with_a_full_disk(void)
{
    static char disk[] = "/tmp/tollgate-disk-XXXXXX", block[4096];
    bool mounted =
        unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mkdtemp(disk) != NULL && mount("tmpfs", disk, "tmpfs", 0, "size=8m,mode=0700") == 0;
    if (!mounted) {
        rmdir(disk);
        cr_log_warn("only root may mount: %s was not tried",
                    refusal_names[REFUSAL_JOURNAL_UNAVAILABLE]);
        return;
    }
    struct site *site =
        site_create(.own_redis = true, .state_dir = disk,
                    .settings =
                        "accounts_max: 100\nwindows_max: 20\njournal_segment_bytes: 65536\n");
    site_account_open_prepaid(site, "alice", 10000000);
    FILE *filler = fopen(site_format(site, "%s/filler", disk), "we");
    cr_assert(filler);
    while (fwrite(block, sizeof(block), 1, filler) == 1)
        continue;
    (void)fclose(filler);
    /* Top-ups fill the journal until it needs a segment that it cannot make. */
    unsigned answered = 200;
    for (unsigned i = 0; answered == 200; i++) {
        cr_assert_lt(i, 20000);
        const char *body = site_format(site, "{\"bytes\":1,\"transaction\":\"fill-%u\"}", i);
        answered = site_admin(site, "POST", "/v1/accounts/shop/alice/top-up", body)->status;
    }
    expect_same(site, NULL, site_link(site, .account = "alice", .path = TRACK_TINY),
                REFUSAL_JOURNAL_UNAVAILABLE);
    cr_assert_eq(unlink(site_format(site, "%s/filler", disk)), 0);
    site_destroy(&site);
    umount(disk);
    rmdir(disk);
}
