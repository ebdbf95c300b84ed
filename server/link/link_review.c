/* SPDX-License-Identifier: Apache-2.0 */
/* The review of links that were just signed. See link_review.h. */
#include "server/link/link_review.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/link/link_facts.h"
#include "server/link/trust.h"
#include "storage/media/media.h"

struct link_review {
    const struct config *config; /* borrows */
    const char *file;            /* borrows */
    struct token_trust *trust;   /* owns; NULL: the keys cannot be read here */
    struct media *media;         /* owns; NULL: the media root cannot be read here */
    bool has_root;               /* false: there is no media root */
};

/* Where the sentences go. */
struct review_listener {
    void (*warn)(void *context, const char *text);
    void *context;
};

static void __attribute__((format(printf, 2, 3)))
tell(const struct review_listener *listener, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    listener->warn(listener->context, text);
}

struct link_review *link_review_create(const struct config *config, const char *file)
{
    struct link_review *review = calloc(1, sizeof(*review));
    if (review == NULL)
        return NULL;
    const struct media_options media = {.root = config->media_root,
                                        .follow_links = strcmp(config->follow_links, "on") == 0,
                                        .hash_queue_max = 1, /* nothing is hashed */
                                        .hash_first_max = 1,
                                        .hash_entries_max = 1};
    char error[1024];
    review->config = config;
    review->file = file;
    int found = media_open(&review->media, &media, error, sizeof(error));
    review->has_root = found != -ENOENT && found != -ENOTDIR;
    if (trust_load(config, &review->trust, NULL, error, sizeof(error)) < 0)
        review->trust = NULL;
    return review;
}

void link_review_destroy(struct link_review **review)
{
    if (*review == NULL)
        return;
    token_trust_drop(&(*review)->trust);
    if ((*review)->media)
        media_close(&(*review)->media);
    free(*review);
    *review = NULL;
}

static void review_file(const struct link_review *review, const char *path,
                        const struct review_listener *listener)
{
    const char *root = review->config->media_root;
    size_t length = strlen(path);
    const char *kind = length > 0 && path[length - 1] == '/' ? "directory" : "file";
    int found = review->media != NULL ? media_find(review->media, path) : 0;
    if (!review->has_root)
        tell(listener,
             "--path %s: media_root of %s is %s, which is not there; create it, or correct "
             "media_root",
             path, review->file, root);
    else if (found == -ENOENT)
        tell(listener,
             "--path %s: there is no such %s beneath %s (media_root of %s), so the link will be "
             "answered with 404; put it there, or correct --path",
             path, kind, root, review->file);
    else if (found == -EINVAL)
        tell(listener,
             "--path %s: a node never serves a name that begins with a dot, so the link will be "
             "answered with 404; rename it",
             path);
}

/* Warns where the link, or its resumption, lives longer than a node allows; true then. */
static bool review_lifetime(const struct link_review *review,
                            const struct link_review_subject *subject,
                            const struct review_listener *listener)
{
    uint64_t bound_s = review->config->link_lifetime_max_s;
    int64_t lifetime_s = subject->ends_s - subject->begins_s;
    bool is_long = lifetime_s > 0 && (uint64_t)lifetime_s > bound_s;
    if (is_long)
        tell(listener,
             "--path %s: the link lives %" PRId64 " seconds, and a node refuses links that live "
             "longer than %" PRIu64 " seconds (link_lifetime_max_s of %s) with 403 "
             "lifetime_too_long; give --expires-in %" PRIu64 "s at most",
             subject->path, lifetime_s, bound_s, review->file, bound_s);
    if (subject->resume_s > bound_s)
        tell(listener,
             "--path %s: --resume is %" PRIu64 " seconds, and a node refuses links with more than "
             "%" PRIu64 " seconds (link_lifetime_max_s of %s) with 403 lifetime_too_long; give "
             "--resume %" PRIu64 "s at most",
             subject->path, subject->resume_s, bound_s, review->file, bound_s);
    return is_long || subject->resume_s > bound_s;
}

/* Has the node's own code judge the token, and warns where it refuses. */
static void review_token(const struct link_review *review,
                         const struct link_review_subject *subject,
                         const struct review_listener *listener)
{
    struct link_facts *facts = NULL;
    if (review->trust == NULL || link_facts_create(&facts, review->config, review->trust,
                                                   subject->link, subject->begins_s) < 0)
        return;
    if (facts->refusal != REFUSAL_NONE) {
        json_t *hints = link_hints(facts);
        const char *hint = json_string_value(json_array_get(hints, 0));
        tell(listener, "--path %s: a node with %s will refuse the link with %u %s: %s%s%s",
             subject->path, review->file, refusal_status(facts->refusal),
             refusal_name(facts->refusal), refusal_text(facts->refusal), hint != NULL ? "; " : "",
             hint != NULL ? hint : "");
        json_decref(hints);
    }
    link_facts_destroy(&facts);
}

void link_review_run(struct link_review *review, const struct link_review_subject *subject,
                     void (*warn)(void *context, const char *text), void *context)
{
    const struct review_listener listener = {.warn = warn, .context = context};
    /* A node that refuses the lifetime looks at nothing else of the token. */
    if (!review_lifetime(review, subject, &listener))
        review_token(review, subject, &listener);
    review_file(review, subject->path, &listener);
}
