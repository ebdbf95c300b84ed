/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of messages between two threads: what is put comes out whole and in order, also over
 * the end of its bytes, and a full queue takes nothing.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/message_queue.h"

Test(message_queue, gives_back_what_was_put_over_its_end_and_takes_no_more_than_it_holds)
{
    static _Alignas(8) char bytes[1024];
    struct message_queue queue;
    uint64_t put = 0, taken = 0, refused = 0;
    message_queue_init(&queue, bytes, sizeof(bytes));
    srand(1);
    for (int i = 0; i < 200000; i++) {
        unsigned char message[200];
        size_t length = (size_t)(rand() % 200) + 1;
        memset(message, (int)(put % 251), length);
        if (rand() % 2 == 0) {
            bool taken_in = message_queue_put(&queue, message, length);
            put += taken_in;
            refused += !taken_in;
            cr_assert(taken_in || message_queue_used(&queue) > 0);
            continue;
        }
        const unsigned char *first = message_queue_first(&queue, &length);
        cr_assert_eq(first == NULL, put == taken);
        if (first == NULL)
            continue;
        for (size_t j = 0; j < length; j++)
            cr_assert_eq(first[j], taken % 251);
        message_queue_drop(&queue);
        taken++;
    }
    cr_assert_gt(refused, 0);
    cr_assert_leq(message_queue_used(&queue), sizeof(bytes));
}
