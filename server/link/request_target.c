/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target of a request, and the request that a link stands for. See request_target.h. Called by
 * request_link.c for clients, and for links by `link explain` and the admin interface, so that all
 * of them read a target alike.
 */
#include "server/link/request_target.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum refusal request_target_read(const struct http_head *head, const char *attribute,
                                 struct token_target *out)
{
    switch (token_target_parse(head->target.data, head->target.length, attribute, out)) {
    case TOKEN_TARGET_OK:
        return REFUSAL_NONE;
    case TOKEN_TARGET_BAD_PATH:
        return REFUSAL_PATH_INVALID;
    case TOKEN_TARGET_TOO_LONG:
        return REFUSAL_TARGET_TOO_LONG;
    case TOKEN_TARGET_AMBIGUOUS:
        return refusal_of_verdict(REFUSED_TOKEN_AMBIGUOUS);
    }
    return REFUSAL_PATH_INVALID;
}

static bool has_controls(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    }
    return false;
}

int request_of_link(const char *link, char **out, size_t *length)
{
    const char *host = "localhost", *target = link;
    size_t host_length = strlen(host);
    bool is_url = strncasecmp(link, "http://", 7) == 0 || strncasecmp(link, "https://", 8) == 0;
    *out = NULL;
    if (has_controls(link) || (!is_url && link[0] != '/'))
        return -EINVAL;
    if (is_url) {
        host = strstr(link, "://") + 3;
        host_length = strcspn(host, "/?#");
        target = host + host_length;
        /* RFC 9110 4.2.4: userinfo is not sent. */
        const char *user = memrchr(host, '@', host_length);
        if (user != NULL) {
            host_length -= (size_t)(user + 1 - host);
            host = user + 1;
        }
    }
    /* RFC 9110 4.2.3: an empty path is sent as "/"; 4.2.5: a fragment never. */
    int size =
        asprintf(out, "GET %s%.*s HTTP/1.1\r\nHost: %.*s\r\n\r\n", target[0] == '/' ? "" : "/",
                 (int)strcspn(target, "#"), target, (int)host_length, host);
    if (size < 0) {
        *out = NULL;
        return -ENOMEM;
    }
    *length = (size_t)size;
    return 0;
}

enum refusal request_of_link_read(const char *request, size_t length, const struct config *config,
                                  struct token_target *out)
{
    struct http_head head;
    enum refusal refusal = REFUSAL_HEAD_MALFORMED;
    out->package = NULL;
    if (http_head_parse(request, length, &head, &refusal) != HTTP_HEAD_COMPLETE)
        return refusal;
    if (length > config->head_bytes_max) /* as the step HEAD does */
        return REFUSAL_HEAD_TOO_LARGE;
    return request_target_read(&head, config->token_attribute, out);
}
