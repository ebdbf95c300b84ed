/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the PROXY protocol's header. It asserts that a whole header lies within the
 * input, that a header short of one byte is partial and not wrong, and that nothing is read past
 * the end.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/http/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client_address client = {0};
    size_t used = 0;
    bool named = false;
    char *copy = malloc(size + 1); /* so that ASan sees the first byte past it */
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    if (proxy_header_read(copy, size, &used, &client, &named) == PROXY_HEADER_COMPLETE) {
        check(used >= sizeof("PROXY UNKNOWN\r\n") - 1 && used <= size);
        check(used <= (copy[0] == 'P' ? PROXY_LINE_MAX : 16 + PROXY_HEADER_MAX));
        check(proxy_header_read(copy, used - 1, &used, &client, &named) == PROXY_HEADER_PARTIAL);
    }
    free(copy);
    return 0;
}
