/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Foresees how a node will answer a link that was just signed, as far as a configuration and the
 * media root tell. `link sign` warns with it, so that the buyer is not the first to learn. It
 * asks no node.
 */
#ifndef TOLLGATE_SERVER_LINK_LINK_REVIEW_H
#define TOLLGATE_SERVER_LINK_LINK_REVIEW_H

#include <stdint.h>

#include "server/config/config.h"

struct link_review;

/*
 * Prepares reviews for the configuration, which was read from `file`; both are borrowed. Issuers'
 * keys and a media root that cannot be read here are left out of the review, because the storefront
 * needs neither. NULL without memory.
 */
struct link_review *link_review_create(const struct config *config, const char *file);
void link_review_destroy(struct link_review **review);

/*
 * Calls `warn` with a sentence for each reason why a node will refuse the link. `path` is what was
 * signed, decoded, a directory with a slash at its end. The link is valid from `begins_s` to
 * `ends_s` (its exp), in seconds since 1970; `resume_s` is 0 where it has no claim resume.
 */
struct link_review_subject {
    const char *link, *path;
    int64_t begins_s, ends_s;
    uint64_t resume_s;
};
void link_review_run(struct link_review *review, const struct link_review_subject *subject,
                     void (*warn)(void *context, const char *text), void *context);

#endif
