/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share: its keys, how a command runs, and the parts of commands. */
#ifndef TOLLGATE_TESTS_SIMULATION_STORE_INTERNAL_H
#define TOLLGATE_TESTS_SIMULATION_STORE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/simulation/store.h"
#include "tests/simulation/store_answer.h"
#include "tests/simulation/store_table.h"

struct functions_library;
struct functions_function;
struct store_stream;

#define STORE_LIBRARIES_MAX 64 /* loaded at once; one more is a programmer's error */

struct store {
    struct table keys;
    store_published *published; /* may be NULL */
    void *context;              /* borrowed */
    uint64_t real_us;
    uint32_t number; /* in a recording; 0: it is in none */
    /* In order of loading; borrowed from functions.c, which keeps them for the process. */
    const struct functions_library *libraries[STORE_LIBRARIES_MAX];
    size_t libraries_count;
    struct answer answer;        /* of store_call() */
    struct answer script_answer; /* of redis.call in a function */
};

struct store_object {
    enum store_kind kind;
    bool scattered;      /* a hash that Redis no longer keeps in order: HSCAN goes in steps */
    int64_t expires_ms;  /* -1: never */
    struct table fields; /* of a hash */
    struct store_stream *stream; /* owned */
};

/* The words of a call; `text` and `lengths` are borrowed. Words do not end with a NUL. */
struct store_words {
    int count;
    const char *const *text;
    const size_t *lengths;
};

/*
 * Runs a command into `out`, which it clears. `function`: the function whose redis.call this is, or
 * NULL. Returns false where the answer is an error.
 */
bool store_execute(struct store *store, const struct store_words *words,
                   const struct functions_function *function, struct answer *out);

int64_t store_now_ms(const struct store *store);
/* Looks up a key, which goes where its time has come. NULL: absent. */
struct store_object *store_find(struct store *store, const char *key, size_t length);
/* The same for a command that needs this kind: false where it has answered WRONGTYPE. */
bool store_find_kind(struct store *store, const struct store_words *words, enum store_kind kind,
                     struct store_object **object, struct answer *out);
struct store_object *store_add(struct store *store, const char *key, size_t length,
                               enum store_kind kind);
void store_remove(struct store *store, const char *key, size_t length);

/* Whether the word is this one, in any case of letters. */
bool store_is(const struct store_words *words, int index, const char *name);
/* Reads an integer as strictly as Redis does: no sign but '-', no leading zero or space. */
bool store_integer(const char *text, size_t length, long long *out);
/* Reads the option COUNT, at word `index`, and the number behind it. False, with an error answered,
 * where it is another word, or no number follows. */
bool store_count(const struct store_words *words, int index, long long *count, struct answer *out);
void store_wrong_number(struct answer *out, const char *command);

/* store_stream.c */
struct store_stream *stream_create(void);
void stream_destroy(struct store_stream *stream);
struct store_stream *stream_copy(const struct store_stream *from);
/* Hands each part of its content to `take`, in order: for the digest. */
void stream_each(const struct store_stream *stream,
                 void (*take)(void *context, const void *bytes, size_t length), void *context);

/* The commands: each has the right number of words. */
void hash_hget(struct store *store, const struct store_words *words, struct answer *out);
void hash_hmget(struct store *store, const struct store_words *words, struct answer *out);
void hash_hgetall(struct store *store, const struct store_words *words, struct answer *out);
void hash_hset(struct store *store, const struct store_words *words, struct answer *out);
void hash_hincrby(struct store *store, const struct store_words *words, struct answer *out);
void hash_hdel(struct store *store, const struct store_words *words, struct answer *out);
void hash_hscan(struct store *store, const struct store_words *words, struct answer *out);
void stream_xadd(struct store *store, const struct store_words *words, struct answer *out);
void stream_xrange(struct store *store, const struct store_words *words, struct answer *out);
void library_load(struct store *store, const struct store_words *words, struct answer *out);
void library_list(struct store *store, const struct store_words *words, struct answer *out);
void library_delete(struct store *store, const struct store_words *words, struct answer *out);
void library_flush(struct store *store, const struct store_words *words, struct answer *out);
void library_fcall(struct store *store, const struct store_words *words, struct answer *out);

#endif
