/* SPDX-License-Identifier: Apache-2.0 */
/* The replies of simulation_store_test: held against each other, sorted, printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/simulation/store_test.h"

static bool has_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ||
           reply->type == REDIS_REPLY_ERROR;
}

bool reply_same(const redisReply *a, const redisReply *b)
{
    if (a->type != b->type)
        return false;
    if (has_text(a))
        return a->len == b->len && memcmp(a->str, b->str, a->len) == 0;
    if (a->type == REDIS_REPLY_INTEGER)
        return a->integer == b->integer;
    if (a->type != REDIS_REPLY_ARRAY)
        return true;
    bool same = a->elements == b->elements;
    for (size_t i = 0; same && i < a->elements; i++)
        same = reply_same(a->element[i], b->element[i]);
    return same;
}

static int compare(const void *a, const void *b)
{
    const redisReply *left = *(redisReply *const *)a, *right = *(redisReply *const *)b;
    while (left->type == REDIS_REPLY_ARRAY && left->elements > 1 &&
           right->type == REDIS_REPLY_ARRAY && right->elements > 1) {
        left = left->element[1]; /* a function of FUNCTION LIST has its name there */
        right = right->element[1];
    }
    if (!has_text(left) || !has_text(right))
        return left->type - right->type;
    size_t both = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->str, right->str, both);
    return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

void reply_sort(redisReply *reply, size_t group)
{
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 1 && reply->elements % group == 0)
        qsort(reply->element, reply->elements / group, group * sizeof(redisReply *), compare);
}

void reply_print(const redisReply *reply, int depth)
{
    if (reply->type == REDIS_REPLY_INTEGER)
        printf("%*s(integer) %lld\n", depth, "", reply->integer);
    else if (has_text(reply))
        printf("%*s(%s) %.300s\n", depth, "",
               reply->type == REDIS_REPLY_STRING  ? "text"
               : reply->type == REDIS_REPLY_ERROR ? "error"
                                                  : "status",
               reply->str);
    else if (reply->type == REDIS_REPLY_NIL)
        printf("%*s(nil)\n", depth, "");
    else
        printf("%*s(array of %zu)\n", depth, "", reply->elements);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && i < 40; i++)
        reply_print(reply->element[i], depth + 2);
}

uint64_t reply_digest(const redisReply *reply, uint64_t seed)
{
    seed = XXH3_64bits_withSeed(&reply->type, sizeof(reply->type), seed);
    if (has_text(reply))
        return XXH3_64bits_withSeed(reply->str, reply->len, seed);
    if (reply->type == REDIS_REPLY_INTEGER)
        return XXH3_64bits_withSeed(&reply->integer, sizeof(reply->integer), seed);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        seed = reply_digest(reply->element[i], seed);
    return seed;
}
