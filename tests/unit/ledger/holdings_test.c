/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of what a lane holds: what a process noted and did not forget is found by the next one,
 * and a table that is full, cut or overwritten costs no more than what it held.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/ledger/holdings.h"
#include "tests/unit/ledger/fixture.h"

static char directory[64];
static int lane;
static struct holdings *holdings;

static void reopen(void)
{
    holdings_close(&holdings);
    cr_assert_eq(holdings_open(&holdings, lane), 0);
}

static void setup(void)
{
    snprintf(directory, sizeof(directory), "/tmp/tollgate-holdings-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    lane = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(lane, 0);
    reopen();
}

static void teardown(void)
{
    holdings_close(&holdings);
    close(lane);
    fixture_remove(directory);
}

TestSuite(ledger_holdings, .init = setup, .fini = teardown, .timeout = 30);

/* Notes the account, or a link of it whose id has `link` in each byte; 0: the account itself. */
static int note(const char *text, int link)
{
    struct holding holding = {.length = (uint32_t)strlen(text), .of_link = link != 0};
    memcpy(holding.text, text, holding.length);
    memset(holding.link_id, link, sizeof(holding.link_id));
    return holdings_note(holdings, &holding);
}

static unsigned left(void)
{
    struct holding holding;
    unsigned count = 0;
    for (int at = holdings_left(holdings, 0, &holding); at >= 0;
         at = holdings_left(holdings, at + 1, &holding))
        count++;
    return count;
}

Test(ledger_holdings, that_a_process_noted_are_left_to_the_next_until_it_forgets_them)
{
    struct holding holding;
    (void)note("shop/alice", 0);
    int bob = note("shop/bob", 0);
    (void)note("shop/alice", 7);
    cr_expect_eq(left(), 0, "they are its own");
    holdings_forget(holdings, bob);
    reopen();
    int first = holdings_left(holdings, 0, &holding);
    cr_assert_geq(first, 0);
    cr_expect(holding.length == 10 && memcmp(holding.text, "shop/alice", 10) == 0 &&
              !holding.of_link);
    int second = holdings_left(holdings, first + 1, &holding);
    cr_assert_gt(second, first);
    cr_expect(holding.length == 10 && holding.of_link && holding.link_id[0] == 7 &&
              holding.link_id[LEDGER_LINK_ID_BYTES - 1] == 7);
    cr_expect_eq(holdings_left(holdings, second + 1, &holding), -1);
    holdings_forget(holdings, first);
    cr_expect_eq(holdings_left(holdings, 0, &holding), second);
    reopen(); /* a process that was killed before it told all */
    cr_expect_eq(left(), 1);
    holdings_forget(holdings, second);
    reopen();
    cr_expect_eq(left(), 0);
}

Test(ledger_holdings, that_are_left_keep_their_places_from_new_ones)
{
    struct holding holding;
    int before = note("shop/alice", 0);
    reopen();
    int after = note("shop/bob", 0);
    cr_assert_geq(after, 0);
    cr_expect_neq(after, before);
    cr_expect_eq(holdings_left(holdings, 0, &holding), before);
    cr_expect_eq(memcmp(holding.text, "shop/alice", 10), 0);
    cr_expect_eq(left(), 1, "bob's is this process'");
}

Test(ledger_holdings, find_no_place_in_a_full_table_and_take_one_that_is_free_again)
{
    for (int i = 0; i < HOLDINGS_MAX; i++)
        cr_assert_geq(note("shop/alice", 0), 0, "%d", i);
    cr_expect_eq(note("shop/bob", 0), -1);
    holdings_forget(holdings, -1);
    cr_expect_eq(note("shop/bob", 0), -1);
    holdings_forget(holdings, 99);
    cr_expect_eq(note("shop/bob", 0), 99);
    reopen();
    cr_expect_eq(left(), (unsigned)HOLDINGS_MAX);
}

Test(ledger_holdings, of_the_longest_name_fit)
{
    struct holding holding;
    char text[HOLDING_TEXT_MAX + 1];
    memset(text, 'n', HOLDING_TEXT_MAX);
    text[HOLDING_TEXT_MAX] = '\0';
    (void)note(text, 255);
    (void)note("shop/alice", 0);
    reopen();
    cr_assert_geq(holdings_left(holdings, 0, &holding), 0);
    cr_expect(holding.length == HOLDING_TEXT_MAX &&
              memcmp(holding.text, text, HOLDING_TEXT_MAX) == 0);
    cr_expect_eq(left(), 2);
}

static int table_file(int flags)
{
    int fd = openat(lane, "pools", flags | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

Test(ledger_holdings, of_a_table_that_was_cut_are_as_many_as_are_whole)
{
    struct stat before, after;
    (void)note("shop/alice", 0);
    for (int i = 1; i < HOLDINGS_MAX; i++)
        (void)note("shop/bob", 0);
    holdings_close(&holdings);
    int fd = table_file(O_RDWR);
    cr_assert_eq(fstat(fd, &before), 0);
    cr_assert_eq(ftruncate(fd, before.st_size / HOLDINGS_MAX), 0);
    reopen();
    cr_expect_eq(left(), 1);
    cr_assert_eq(fstat(fd, &after), 0);
    cr_expect_eq(after.st_size, before.st_size, "and it has room for all again");
    close(fd);
}

Test(ledger_holdings, of_a_table_that_was_overwritten_are_not_believed)
{
    static const unsigned char bytes[] = {0xff, 0x00, 0x55};
    struct stat stat;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        (void)note("shop/alice", 0);
        holdings_close(&holdings);
        int fd = table_file(O_RDWR);
        cr_assert_eq(fstat(fd, &stat), 0);
        char *whole = malloc((size_t)stat.st_size);
        memset(whole, bytes[i], (size_t)stat.st_size);
        cr_assert_eq(pwrite(fd, whole, (size_t)stat.st_size, 0), stat.st_size);
        free(whole);
        close(fd);
        reopen();
        cr_expect_eq(left(), 0, "%x", bytes[i]);
        cr_expect_geq(note("shop/bob", 0), 0, "%x", bytes[i]);
    }
}

Test(ledger_holdings, of_a_length_beyond_the_text_are_not_believed)
{
    static const uint32_t lengths[] = {0, HOLDING_TEXT_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        int place = note("shop/alice", 0);
        holdings_close(&holdings);
        int fd = table_file(O_RDWR);
        struct stat stat;
        cr_assert_eq(fstat(fd, &stat), 0);
        /* The length stands behind the state in each place. */
        off_t at = stat.st_size / HOLDINGS_MAX * place + (off_t)sizeof(uint32_t);
        cr_assert_eq(pwrite(fd, &lengths[i], sizeof(lengths[i]), at), (ssize_t)sizeof(lengths[i]));
        close(fd);
        reopen();
        cr_expect_eq(left(), 0, "%u", lengths[i]);
    }
}

Test(ledger_holdings, stand_before_the_time_of_the_last_note_which_the_next_process_finds)
{
    cr_expect_eq(holdings_noted_ms(holdings), 0);
    holdings_keep_noted(holdings, 1700000000500);
    cr_assert_eq(note("shop/a", 0), 0);
    reopen();
    cr_expect_eq(holdings_noted_ms(holdings), 1700000000500);
    cr_expect_eq(left(), 1);
    holdings_keep_noted(holdings, UINT64_MAX);
    reopen();
    cr_expect_eq(holdings_noted_ms(holdings), 0, "no clock is there: the file was overwritten");
}

Test(ledger_holdings, without_a_table_are_noted_nowhere)
{
    struct holding holding;
    holdings_close(&holdings);
    cr_assert_eq(unlinkat(lane, "pools", 0), 0);
    cr_assert_eq(symlinkat("elsewhere", lane, "pools"), 0);
    cr_expect_eq(holdings_open(&holdings, lane), -ELOOP);
    cr_expect_null(holdings);
    cr_expect_eq(note("shop/alice", 0), -1);
    cr_expect_eq(holdings_left(holdings, 0, &holding), -1);
    holdings_forget(holdings, 3);
    holdings_close(&holdings);
}
