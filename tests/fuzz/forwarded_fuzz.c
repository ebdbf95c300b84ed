/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the fields by which proxies name clients. It asserts that nothing is read
 * past the end, and that whatever stands before the last member, which the trusted proxy wrote,
 * cannot change the client that this member names.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/http/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const lines[] = {"X-Forwarded-For: ", "Forwarded: "};
    static const char *const last[] = {", 203.0.113.77:9\r\n", ", for=\"203.0.113.77:9\"\r\n"};
    struct client_prefix trusted;
    const char *bad;
    char *copy = malloc(size + 64);
    if (copy == NULL || client_prefixes_read("10.0.0.0/8", &trusted, 1, &bad) != 1)
        abort();
    for (enum forwarded_field field = FORWARDED_X_FORWARDED_FOR; field <= FORWARDED_FORWARDED;
         field++) {
        struct client_address client = {.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 1}};
        struct http_head head = {0};
        char text[CLIENT_ADDRESS_TEXT];
        enum refusal refusal;
        size_t at = (size_t)sprintf(copy, "GET / HTTP/1.1\r\nHost: a\r\n");
        memcpy(copy + at, data, size);
        at += size;
        at += (size_t)sprintf(copy + at, "\r\n");
        char *exact = malloc(at); /* so that ASan sees the first byte past it */
        if (exact == NULL)
            abort();
        memcpy(exact, copy, at);
        if (http_head_parse(exact, at, &head, &refusal) == HTTP_HEAD_COMPLETE)
            (void)forwarded_read(field, &head, &trusted, 1, &client);
        free(exact);
        at = (size_t)sprintf(copy, "%s", lines[field]);
        for (size_t i = 0; i < size; i++)
            copy[at++] = data[i] == '\r' || data[i] == '\n' ? ' ' : (char)data[i];
        at += (size_t)sprintf(copy + at, "%s", last[field]);
        head.fields = (struct http_text){copy, at};
        check(forwarded_read(field, &head, &trusted, 1, &client) == FORWARDED_NAMED);
        client_address_write(&client, text);
        check(strcmp(text, "203.0.113.77:9") == 0);
    }
    free(copy);
    return 0;
}
