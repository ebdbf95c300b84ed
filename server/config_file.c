/*
 * The two ends of reading a configuration: a small file read whole, and the collector of what is
 * wrong with it. Called by config_load and its parts, and config_read_file by whoever reads key
 * files; it interprets nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/config_internal.h"

/* Kept free for the line of config_errors_end. */
#define OMITTED_BYTES ((size_t)480)

void config_error(struct config_errors *errors, unsigned line, const char *format, ...)
{
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    errors->count++;
    char text[1024 + 512];
    const char *newline = errors->length > 0 ? "\n" : "";
    if (line > 0)
        snprintf(text, sizeof(text), "%s%.400s:%u: %s", newline, errors->file, line, message);
    else
        snprintf(text, sizeof(text), "%s%.400s: %s", newline, errors->file, message);
    size_t length = strlen(text);
    /* The first message is kept in part where it does not fit; later ones go whole or not at all. */
    if (errors->length > 0 && errors->length + length + OMITTED_BYTES >= errors->size) {
        errors->omitted++;
        return;
    }
    if (errors->size == 0)
        return;
    snprintf(errors->text + errors->length, errors->size - errors->length, "%s", text);
    errors->length = strlen(errors->text);
}

void config_errors_end(struct config_errors *errors)
{
    if (errors->omitted > 0 && errors->length + OMITTED_BYTES < errors->size)
        snprintf(errors->text + errors->length, errors->size - errors->length,
                 "\n%.400s: and %u more mistakes; mend these first", errors->file, errors->omitted);
}

int config_read_descriptor(int fd, size_t size_max, char **text, size_t *length)
{
    struct stat facts;
    *text = NULL;
    *length = 0;
    int result = fstat(fd, &facts) < 0 ? -errno : S_ISDIR(facts.st_mode) ? -EISDIR : 0;
    size_t capacity = 4096, used = 0;
    char *bytes = result == 0 ? malloc(capacity) : NULL;
    if (result == 0 && bytes == NULL)
        result = -ENOMEM;
    while (result == 0) {
        ssize_t got = read(fd, bytes + used, capacity - used - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            result = -errno;
        if (got <= 0)
            break;
        used += (size_t)got;
        if (used > size_max)
            result = -EFBIG;
        if (result == 0 && used + 1 == capacity) {
            char *grown = realloc(bytes, capacity * 2);
            if (grown == NULL) {
                result = -ENOMEM;
                break;
            }
            bytes = grown;
            capacity *= 2;
        }
    }
    if (result != 0) {
        free(bytes);
        return result;
    }
    bytes[used] = '\0';
    *text = bytes;
    *length = used;
    return 0;
}

int config_read_file(const char *path, size_t size_max, char **text, size_t *length)
{
    *text = NULL;
    *length = 0;
    /* Without O_NONBLOCK a path that names a FIFO would hang the start. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int result = config_read_descriptor(fd, size_max, text, length);
    close(fd);
    return result;
}
