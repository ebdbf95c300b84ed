/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an access log that is a FIFO whose reader does not read. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/access_log/access_log.h"

#define WORKERS 8
#define HANG_S                                                                                     \
    60 /* if each batch of the queues took its two seconds, the end would take over a minute */
#define PATH_SIZE 2000

Test(access_log, whose_fifo_nobody_reads_holds_up_the_end_once)
{
    char directory[] = "/tmp/tollgate-access-XXXXXX", path[64], error[256] = "";
    struct access_log *log;
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/access", directory);
    cr_assert_eq(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(reader, 0);
    cr_assert_eq(access_log_open(&log, path, ACCESS_COMBINED, WORKERS, error, sizeof(error)), 0,
                 "%s", error);
    struct access_facts *facts = calloc(1, sizeof(*facts) + PATH_SIZE);
    cr_assert_not_null(facts);
    facts->size = (uint32_t)(sizeof(*facts) + PATH_SIZE);
    facts->length[ACCESS_PATH] = PATH_SIZE;
    memset(access_facts_text(facts), '/', PATH_SIZE);
    uint64_t put = 0, refused = 0;
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        while (access_log_put(log, worker, facts))
            put++;
        refused++;
    }
    struct access_log_stats stats;
    access_log_stats(log, &stats);
    cr_assert_eq(stats.dropped, refused);
    cr_assert_gt(put, WORKERS * 400);
    alarm(HANG_S);
    access_log_close(&log);
    alarm(0);
    free(facts);
    close(reader);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(directory), 0);
}
