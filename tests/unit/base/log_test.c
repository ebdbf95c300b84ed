/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's log on every kind of standard error: a pipe that is read, a pipe that nobody reads, a
 * full disk, a closed descriptor. Lines come in order, left-out lines are counted, and no caller
 * waits. Each test is a process of its own and may replace its descriptor 2.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/access_log/access_log.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/strike.h"

/* Makes standard error a pipe; returns its read end. */
static int take_standard_error(void)
{
    int ends[2];
    if (fcntl(STDERR_FILENO, F_GETFD) < 0)
        cr_assert_eq(open("/dev/null", O_RDONLY | O_CLOEXEC), STDERR_FILENO);
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    int fd = fcntl(ends[0], F_DUPFD_CLOEXEC, 10);
    close(ends[0]);
    return fd;
}

/* Reads to the end, for which the write end must be closed. The caller frees. */
static char *read_all(int fd)
{
    size_t size = 4 << 20, length = 0;
    char *text = malloc(size);
    cr_assert_not_null(text);
    ssize_t got;
    while ((got = read(fd, text + length, size - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    close(fd);
    return text;
}

static unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        count++;
    return count;
}

/* The sum of the numbers behind `what`. */
static unsigned long sum_behind(const char *text, const char *what)
{
    unsigned long sum = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        sum += strtoul(text + strlen(what), NULL, 10);
    return sum;
}

static void end_standard_error(void)
{
    close(STDERR_FILENO);
}

Test(log, comes_in_order_before_during_and_after_its_thread)
{
    int fd = take_standard_error();
    log_info("line 0");
    cr_assert_eq(log_start(), 0);
    log_warning("line 1");
    log_error("line 2 with \x1b control");
    log_info("line 3");
    log_stop();
    log_info("line 4");
    end_standard_error();
    char *text = read_all(fd), *at = text;
    for (int i = 0; i < 5; i++) {
        char line[32];
        snprintf(line, sizeof(line), " line %d", i);
        at = strstr(at, line);
        cr_assert_not_null(at, "%s is not there, or not in its place: %s", line, text);
    }
    cr_assert_eq(count_of(text, "\n"), 5, "%s", text);
    cr_assert_not_null(strstr(text, "Z error line 2 with \\x1b control\n"), "%s", text);
    free(text);
}

/* Logs the message and returns it as the log wrote it. */
static const char *logged(const char *message)
{
    static char *text;
    free(text);
    int fd = take_standard_error();
    log_info("%s", message);
    end_standard_error();
    text = read_all(fd);
    text[strcspn(text, "\n")] = '\0';
    const char *begin = strstr(text, " info ");
    cr_assert_not_null(begin, "%s", text);
    return begin + 6;
}

Test(log, shows_names_and_escapes_what_steers_a_terminal_or_turns_the_text)
{
    static const char *const cases[][2] = {
        {"Café – 東京 🎵 \\", "Café – 東京 🎵 \\"},
        {"a\x1b[31m\x7f", "a\\x1b[31m\\x7f"},
        {"a\xc2\x9b"
         "31m",
         "a\\xc2\\x9b31m"},         /* CSI of C1 */
        {"\xc2\x85", "\\xc2\\x85"}, /* NEL */
        {"\xe2\x80\xae"
         "gpj",
         "\\xe2\\x80\\xaegpj"},                                           /* RLO */
        {"\xe2\x81\xa6x\xe2\x81\xa9", "\\xe2\\x81\\xa6x\\xe2\\x81\\xa9"}, /* LRI, PDI */
        {"\xd8\x9c", "\\xd8\\x9c"},                                       /* ALM */
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},                              /* LINE SEPARATOR */
        {"\x9b"
         "31m \xff \xe2\x80",
         "\\x9b31m \\xff \\xe2\\x80"}, /* not UTF-8 */
        {"\xc1\x9b \xe0\x82\x9b \xed\xa0\x80", "\\xc1\\x9b \\xe0\\x82\\x9b \\xed\\xa0\\x80"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_str_eq(logged(cases[i][0]), cases[i][1], "case %zu: %s", i, logged(cases[i][0]));
}

static const struct {
    const char *text, *struck;
} struck[] = {{"/a?URISigningPackage=x.y&z=1", "/a?URISigningPackage=[token]&z=1"},
              {"/a;URISigningPackage=ab+/c= next", "/a;URISigningPackage=[token] next"},
              {"http://s/?u=%2Fa%3FURISigningPackage%3dabc",
               "http://s/?u=%2Fa%3FURISigningPackage%3d[token]"},
              {"?u=%253FURISigningPackage%253Dabc", "?u=%253FURISigningPackage%253D[token]"},
              {"urisigningpackage=abc", "urisigningpackage=[token]"},
              {"?ticket=abc&t=1", "?ticket=[token]&t=1"}, /* the configured name of the parameter */
              {"?u=%26ticket%3Dabc", "?u=%26ticket%3D[token]"},
              {"?mticket=abc", "?mticket=abc"},
              {"?x=eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJzaG9wIn0.c2ln", "?x=[token]"},
              {"URISigningPackage=&a", "URISigningPackage=&a"}};

Test(log, strikes_what_follows_the_tokens_name)
{
    strike_name_set("ticket");
    for (size_t i = 0; i < sizeof(struck) / sizeof(struck[0]); i++)
        cr_expect_str_eq(logged(struck[i].text), struck[i].struck, "%s", logged(struck[i].text));
}

Test(access_log, strikes_what_follows_the_tokens_name_in_every_field)
{
    char *line = malloc(ACCESS_LINE_MAX);
    struct access_facts *facts = calloc(1, sizeof(*facts) + 512);
    cr_assert(line != NULL && facts != NULL);
    strike_name_set("ticket");
    for (size_t i = 0; i < sizeof(struck) / sizeof(struck[0]); i++) {
        for (unsigned field = 0; field < ACCESS_TEXTS; field++) {
            memset(facts->length, 0, sizeof(facts->length));
            facts->length[field] = (uint16_t)strlen(struck[i].text);
            memcpy(access_facts_text(facts), struck[i].text, strlen(struck[i].text));
            size_t length = access_line_write(facts, ACCESS_JSON, line);
            cr_assert(length > 0 && length < ACCESS_LINE_MAX);
            line[length] = '\0';
            char *wanted;
            cr_assert_gt(asprintf(&wanted, ":\"%s\"", struck[i].struck), 0);
            char *slash = strstr(line, wanted);
            cr_expect_not_null(slash, "field %u: %s is not in %s", field, wanted, line);
            free(wanted);
        }
    }
    free(facts);
    free(line);
}

Test(log, limits_a_flood_of_one_message_says_how_many_it_left_out_and_lets_others_through)
{
    enum { COUNT = 100000 };
    int fd = take_standard_error();
    cr_assert_eq(log_start(), 0);
    for (int i = 0; i < COUNT; i++)
        log_error("flood %d", i);
    log_info("another message");
    for (int i = 0; i < COUNT; i++)
        log_write(log_site_of("kind of a library: %d"), LOG_LEVEL_INFO, "of a library %d", i);
    log_write(log_site_of("another kind"), LOG_LEVEL_INFO, "of another kind");
    log_stop();
    end_standard_error();
    char *text = read_all(fd);
    const char *const floods[] = {" error flood ", " info of a library "};
    const char *const kinds[] = {"more of: flood ...\n", "more of: kind of a library: ...\n"};
    unsigned shown = 0;
    for (int i = 0; i < 2; i++) {
        unsigned lines = count_of(text, floods[i]);
        /* A burst at once, and a few more that a slow machine has had the time for. */
        cr_assert_geq(lines, LOG_SITE_BURST);
        cr_assert_lt(lines, LOG_SITE_BURST + 20 * LOG_SITE_PER_S, "%u lines", lines);
        cr_assert_geq(count_of(text, kinds[i]), 1);
        shown += lines;
    }
    cr_assert_eq(shown + sum_behind(text, "left out "), 2 * COUNT);
    cr_assert_eq(count_of(text, " info another message\n"), 1);
    cr_assert_eq(count_of(text, " info of another kind\n"), 1);
    free(text);
}

/* Logs `count` messages of 2,000 bytes, whose numbers tell the order. */
static void log_long_lines(struct log_site *sites, int first, int count)
{
    static char filling[2000];
    memset(filling, 'x', sizeof(filling) - 1);
    for (int i = first; i < first + count; i++)
        log_write(&sites[i], LOG_LEVEL_INFO, "number %d %s", i, filling);
}

Test(log, that_nobody_reads_delays_nobody_and_says_what_is_missing_once_it_is_read)
{
    enum { COUNT = 2000 };
    static struct log_site sites[COUNT + 1];
    int fd = take_standard_error();
    cr_assert_eq(log_start(), 0);
    log_long_lines(sites, 0, COUNT); /* 4 MB: more than pipe, batch and queue hold together */
    struct log_stats stats;
    log_stats(&stats);
    cr_assert_gt(stats.left_out, 0);
    /* From here on the pipe is read. */
    static char text[8 << 20];
    size_t length = 0;
    bool asked = false;
    while (strstr(text, "number 2000 ") == NULL) {
        ssize_t got = read(fd, text + length, sizeof(text) - 1 - length);
        cr_assert_gt(got, 0);
        length += (size_t)got;
        /* The queue has room again once each line has been read, or told of as left out. */
        if (asked || count_of(text, " number ") + sum_behind(text, "left out ") != COUNT)
            continue;
        asked = true;
        log_long_lines(sites, COUNT, 1);
    }
    log_stop();
    end_standard_error();
    char *rest = read_all(fd);
    cr_assert_lt(length + strlen(rest), sizeof(text));
    strcpy(text + length, rest);
    free(rest);
    unsigned lines = 0;
    long last = -1;
    for (const char *at = text; (at = strstr(at, " number ")) != NULL; at++, lines++) {
        long number = strtol(at + 8, NULL, 10);
        cr_assert_gt(number, last);
        last = number;
    }
    cr_assert_eq(last, COUNT);
    cr_assert_eq(lines + sum_behind(text, "left out "), COUNT + 1);
    log_stats(&stats);
    cr_assert_eq(lines + stats.left_out, COUNT + 1);
}

Test(log, that_nobody_reads_does_not_hold_up_the_end)
{
    enum { COUNT = 400 };
    static struct log_site sites[COUNT];
    (void)take_standard_error();
    cr_assert_eq(log_start(), 0);
    log_long_lines(sites, 0, COUNT);
    log_stop();
    for (int i = 0; i < 100; i++) /* writing to standard error must not block either */
        fprintf(stderr, "%2000d\n", i);
}

Test(log, of_a_full_disk_and_of_a_closed_descriptor_goes_on_when_it_can)
{
    static struct log_site sites[20];
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert_geq(full, 0);
    cr_assert_eq(dup2(full, STDERR_FILENO), STDERR_FILENO);
    cr_assert_eq(log_start(), 0);
    log_long_lines(sites, 0, 10);
    struct log_stats stats = {0};
    while (stats.left_out < 10) {
        log_stats(&stats);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    close(STDERR_FILENO);
    log_long_lines(sites, 10, 9);
    while (stats.left_out < 19) {
        log_stats(&stats);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    int fd = take_standard_error();
    log_long_lines(sites, 19, 1);
    log_stop();
    end_standard_error();
    char *text = read_all(fd);
    cr_assert_eq(count_of(text, " number 19 "), 1);
    cr_assert_eq(count_of(text, " number "), 1);
    cr_assert_eq(sum_behind(text, "left out "), 19, "%s", text);
    free(text);
}

/* ---- the end by a broken invariant ---- */

/* Starts a child that logs `lines` long lines and then fails an assertion; SIGABRT must end it. */
static void expect_abort(int lines, bool starts)
{
    static struct log_site sites[1000];
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        if (starts && log_start() != 0)
            _exit(1);
        log_long_lines(sites, 0, lines);
        check(lines < 0);
    }
    end_standard_error();
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %d", status);
}

static void expect_last_line(bool starts)
{
    int fd = take_standard_error();
    expect_abort(10, starts);
    char *text = read_all(fd);
    const char *last = strstr(text, "invariant broken: lines < 0\n");
    cr_assert_not_null(last, "%s", text);
    cr_assert_eq(count_of(text, " number "), 10);
    cr_assert_null(strstr(last, " number "), "not in order: %s", text);
    free(text);
}

Test(log, has_the_line_of_a_broken_invariant_behind_all_others)
{
    expect_last_line(true);
}

Test(log, has_the_line_of_a_broken_invariant_of_a_command)
{
    expect_last_line(false);
}

Test(log, that_nobody_reads_does_not_hold_up_an_abort)
{
    int fd = take_standard_error();
    expect_abort(1000, true);
    close(fd);
}
