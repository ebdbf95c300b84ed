/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger verify` as an operator runs it: beside a node, after its end, on a journal that a
 * bad disk has changed, and on a directory that has none.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

TestSuite(ledger_verify, .timeout = 120);

/* Changes a byte of the third record. */
static void damage(struct site *site)
{
    unsigned char byte;
    int fd = open(site_format(site, "%s/lane-a/journal/00000001.seg", site_state_dir(site)),
                  O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0 && pread(fd, &byte, 1, 2 * 256 + 30) == 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, 2 * 256 + 30), 1);
    close(fd);
}

static void expect(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "%s", text);
}

Test(ledger_verify, says_what_the_journals_hold_and_whether_they_are_sound)
{
    struct site *site = site_create(.own_redis = true);
    size_t size;
    (void)site_media_bytes(site, TRACK_LONG, &size);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    cr_assert_eq(fetch(site, link)->status, 200);
    struct command_result result = site_tollgate(site, "ledger", "verify");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    expect(result.output, "): sound\n");
    expect(result.output, "a process writes it now");
    site_usage_await(site, "alice", size);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    result = site_tollgate(site, "ledger", "verify", "--json");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    expect(result.output, "\"sound\": true");
    expect(result.output, "\"stopped\": true");
    expect(result.output, site_format(site, "\"bytes\": %zu", size));
    damage(site);
    result = site_tollgate(site, "ledger", "verify");
    cr_expect_eq(result.exit_code, 1);
    expect(result.output, "DAMAGED; it holds before that:\n");
    expect(result.output, "at byte 512 of 00000001.seg");
    expect(result.errors, "00000001.seg is damaged at byte 512");
    result = site_tollgate(site, "ledger", "verify", "/nowhere");
    cr_expect_eq(result.exit_code, 66);
    expect(result.errors, "/nowhere has no journal in a lane");
    result = site_tollgate(site, "ledger", "verify", "/nowhere", "/other");
    cr_expect_eq(result.exit_code, 64);
    expect(result.errors, "/other is a second directory; verify one at a time");
    site_destroy(&site);
}
