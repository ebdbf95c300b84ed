/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this folder share: the root, its store of hashes and its hasher. Only
 * storage/media includes it; callers see struct media as opaque.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_INTERNAL_H

#include "storage/media/hash_store_internal.h"
#include "storage/media/hasher_internal.h"
#include "storage/media/media.h"
#include "storage/media/path_internal.h"

/* Only media_open writes it; the objects behind the pointers lock themselves. */
struct media {
    struct path_root root;     /* owns its descriptor */
    struct hash_store *hashes; /* owns */
    struct hasher *hasher;     /* owns */
};

#endif
