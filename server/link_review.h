/*
 * What a node will make of a link that was just signed, as far as a configuration and the media root
 * tell: `link sign` warns of it, so that the buyer is not the first who learns it. It asks no node.
 */
#ifndef TOLLGATE_SERVER_LINK_REVIEW_H
#define TOLLGATE_SERVER_LINK_REVIEW_H

#include <stdint.h>

#include "server/config.h"

struct link_review;

/*
 * For the configuration of `file`; both are borrowed. Issuers' keys and a media root that cannot be
 * read here are left out of the review, since the storefront needs neither. NULL without memory.
 */
struct link_review *link_review_create(const struct config *config, const char *file);
void link_review_destroy(struct link_review **review);

/*
 * Calls `warn` with a sentence for each thing that a node will refuse the link for. `path` is what
 * was signed, decoded, a directory with a slash at its end; `begins_s` is when the link is good from
 * on and `ends_s` its exp, in seconds since 1970; `resume_s` is 0 where the link does not say.
 */
struct link_review_subject {
    const char *link, *path;
    int64_t begins_s, ends_s;
    uint64_t resume_s;
};
void link_review_run(struct link_review *review, const struct link_review_subject *subject,
                     void (*warn)(void *context, const char *text), void *context);

#endif
