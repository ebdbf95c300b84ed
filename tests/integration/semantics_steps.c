/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/semantics_steps.h"

#include <string.h>
#include <unistd.h>

struct site *semantics_site(void)
{
    struct site *site =
        site_create(.own_media = true, .settings = "cache_max_age_s: 600\n",
                    .issuer = "    origins: [\"" SHOP_PAGE "\"]\n"
                              "    refusal_url: https://shop.example/refused?from=media\n");
    /* Files of the test's own have a date of now, while those of the catalogue may have any. */
    site_media_add(site, TRACK_TINY, TRACK_TINY, 1);
    site_media_add(site, TRACK_LONG, TRACK_LONG, 1);
    site_account_open_postpaid(site, "alice");
    return site;
}

static const char *replace(struct site *site, const char *text, const char *name, const char *value)
{
    const char *at = strstr(text, name);
    return at != NULL ? replace(site,
                                site_format(site, "%.*s%s%s", (int)(at - text), text, value,
                                            at + strlen(name)),
                                name, value)
                      : text;
}

struct facts facts_of(struct site *site, const char *link)
{
    struct facts facts = {0};
    while (facts.etag == NULL) { /* until the file is hashed */
        const struct answer *answer = fetch(site, link, .method = "HEAD");
        facts.etag = answer_header(site, answer, "ETag");
        facts.modified = answer_header(site, answer, "Last-Modified");
        harness_pause();
    }
    return facts;
}

const char *fill_in(struct site *site, const struct facts *facts, const char *text)
{
    text = replace(site, text, "{etag}", facts->etag);
    text = replace(site, text, "{modified}", facts->modified);
    text = replace(site, text, "{older}", "Sat, 01 Jan 2000 00:00:00 GMT");
    text = replace(site, text, "{newer}", "Fri, 01 Jan 2100 00:00:00 GMT");
    return replace(site, text, "{size}", "2251");
}

const struct answer *request(struct site *site, const char *method, const char *target,
                             const char *fields)
{
    int fd = raw_connect(site, 0);
    raw_print(fd, "%s %s HTTP/1.1\r\nHost: media.example\r\n%s\r\n", method, target, fields);
    const struct answer *answer = raw_answer(site, fd, strcmp(method, "HEAD") == 0);
    close(fd);
    return answer;
}
