/*
 * Makes a trust of the configuration: reads each issuer's key set from its file. Called by the node
 * at start and at each reload, and by the commands that verify; tokens itself never touches the
 * disk.
 */
#ifndef TOLLGATE_SERVER_LINK_TRUST_H
#define TOLLGATE_SERVER_LINK_TRUST_H

#include <stddef.h>

#include "server/config/config.h"
#include "tokens/tokens.h"

#define TRUST_KEYS_BYTES_MAX ((size_t)1024 * 1024)

/* Takes the warnings of key sets, each a sentence or two for an operator: files, issuers and kids,
 * never a key. */
struct trust_warner {
    void (*warn)(void *context, const char *text);
    void *context;
};

/* For `warn`: writes it to the log. `context` is not looked at. */
void trust_warn_log(void *context, const char *text);

/*
 * Reads and parses every issuer's JWKS (1 MiB at most each). 0 and *out for the caller
 * (token_trust_drop), or a negative errno with one sentence that names the issuer, the file and the
 * cure. `warner` (NULL: nobody) hears, of sets that were all taken, what trust_keys_warn says, of
 * private halves, and of keys that two issuers share.
 */
int trust_load(const struct config *config, struct token_trust **out,
               const struct trust_warner *warner, char *error, size_t error_size);

/* A number that changes whenever one of the issuers' key files is written, replaced or removed. */
uint64_t trust_files_print(const struct config *config);

/* The key set in a file; *out is the caller's (key_set_destroy). Errors as above, without the
 * issuer. */
int trust_keys_load(const char *path, struct key_set **out, char *error, size_t error_size);
/* Likewise, the key set that an open descriptor gives; the sentence calls it `name`. */
int trust_keys_load_descriptor(int fd, const char *name, struct key_set **out, char *error,
                               size_t error_size);

/* Warns of what is amiss with a file of keys wherever it lies: others may read its secrets, or a
 * secret can be guessed. */
void trust_keys_warn(const char *path, const struct key_set *keys,
                     const struct trust_warner *warner);

#endif
