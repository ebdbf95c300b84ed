/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens and closes what all workers share: the root directory, the store of hashes and the hasher.
 * The server's main thread and the commands that read the media root call it; workers only ask it
 * for the root's descriptor, the flags and a relative path.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/check.h"
#include "storage/media/media_internal.h"
#include "storage/media/path_internal.h"

/* Composes the sentence, releases what was opened, and passes the errno through. */
static int fail(struct media *media, int error, char *text, size_t text_size, const char *what,
                const char *cure)
{
    if (text != NULL && text_size)
        (void)snprintf(text, text_size, "media %s: %s; %s", what, strerrordesc_np(-error), cure);
    media_close(&media);
    return error;
}

static int fail_root(struct media *media, int error, char *text, size_t text_size, const char *root,
                     const char *cure)
{
    if (text != NULL && text_size)
        (void)snprintf(text, text_size, "media root %s: %s; %s", root, strerrordesc_np(-error),
                       cure);
    media_close(&media);
    return error;
}

/* Finds at the start a fault that would otherwise turn every file into a 404. */
static int probe_root(const struct path_root *root)
{
    int fd = path_open_directory(root, ".");
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

int media_open(struct media **out, const struct media_options *options, char *error,
               size_t error_size)
{
    *out = NULL;
    struct media *media = calloc(1, sizeof(*media));
    if (media == NULL)
        return fail(NULL, -ENOMEM, error, error_size, "library", "free some memory");
    media->root =
        path_root_of(open(options->root, O_PATH | O_DIRECTORY | O_CLOEXEC), options->follow_links);
    if (media->root.fd < 0)
        return fail_root(media, -errno, error, error_size, options->root,
                         "name a directory that holds the files to serve");
    int failed = probe_root(&media->root);
    if (failed == -ENOSYS || failed == -EPERM)
        return fail_root(media, failed, error, error_size, options->root,
                         "openat2 needs Linux 5.6 and a seccomp profile that allows it");
    if (failed)
        return fail_root(media, failed, error, error_size, options->root,
                         "let the server's user read and search it");

    failed = hash_store_open(&media->hashes, options->state_dir, options->hash_entries_max);
    if (failed)
        return fail(media, failed, error, error_size, "hash store",
                    "its bound must be 1 or more entries, and fit in memory");
    failed = hasher_create(&media->hasher, &media->root, media->hashes, options);
    if (failed)
        return fail(
            media, failed, error, error_size, "hasher",
            "its queues must take 1 or more files, and fit in memory; its thread must be allowed");
    *out = media;
    return 0;
}

void media_close(struct media **media)
{
    struct media *closing = *media;
    if (closing == NULL)
        return;
    hasher_destroy(&closing->hasher); /* before the other two, which its thread uses */
    hash_store_close(&closing->hashes);
    if (closing->root.fd >= 0)
        close(closing->root.fd);
    free(closing);
    *media = NULL;
}

void media_stats(const struct media *media, struct media_hash_stats *out)
{
    memset(out, 0, sizeof(*out));
    hasher_stats(media->hasher, out);
    hash_store_stats(media->hashes, out);
}

int media_root_fd(const struct media *media)
{
    return media->root.fd;
}

const struct open_how *media_open_how(const struct media *media)
{
    return &media->root.how;
}
