/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's configuration: one table of keys (config_table.h) makes the YAML schema, the defaults,
 * the checks, `tollgate serve --print-config-reference` and the manual. `serve` loads it when it
 * starts, and again at SIGHUP to say what has changed; other commands load it to find the admin
 * socket, or to sign and judge links. Loading opens no file but the configuration: the module that
 * uses a file opens it.
 */
#ifndef TOLLGATE_SERVER_CONFIG_CONFIG_H
#define TOLLGATE_SERVER_CONFIG_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_PROXIES_MAX 64
#define CONFIG_WORKERS_MAX 64 /* a bit each in the waiters of a window */

struct config_issuer {
    char *id;        /* [a-z0-9-]{1,32} */
    char *iss;       /* the claim's value */
    char *keys;      /* path of its JWKS */
    char **prefixes; /* path prefixes that it may sign for */
    unsigned prefixes_count;
    char **audiences;
    unsigned audiences_count;
    char **origins; /* of its pages: "https://shop.example", or "*" */
    unsigned origins_count;
    char *refusal_url;       /* "" where there is none */
    uint64_t resume_s;       /* of links without the claim */
    char *admin_secret_file; /* "" where there is none */
};

/* The fields stand in the order of config_table.h. After config_load no string is NULL: an optional
 * one that was not given is "" or its default. */
struct config {
    char *listen;              /* "127.0.0.1:8080", "[::1]:8080", ":8080" */
    char *listen_tls;          /* likewise, for TLS; "" where there is none */
    char *certificates;        /* PEM file or directory */
    char *tls_groups;          /* as OpenSSL names them, with colons */
    char *tls_ciphers;         /* likewise */
    char *tls_ticket_keys;     /* file; "" where there is none */
    char *plain_http;          /* "serve" or "redirect" */
    char *public_origin;       /* "http://127.0.0.1:8080" */
    char *proxy_protocol_from; /* prefixes; "" where there is none */
    char *forwarded_from;      /* likewise */
    char *forwarded_field;
    char *media_root;
    char *follow_links; /* on, off */
    char *state_dir;
    char *node;  /* [a-z0-9-]{1,32} */
    char *redis; /* "embedded", "unix:/path", "host:port" */
    char *redis_user;
    char *redis_password_file;
    char *token_attribute;              /* "URISigningPackage" */
    char *jti_single_use;               /* off, strict */
    char *content_type;                 /* of files whose extension is not in content_types */
    char *content_types;                /* ".mp3=audio/mpeg ..."; see content_types.h */
    char *cors_allow_headers;           /* "Authorization, Range"; "": none */
    char *cross_origin_resource_policy; /* "": not sent */
    uint64_t cache_max_age_s; /* how long a client may keep a file, never past its link's exp */
    char *access_log;         /* file; "" where there is none */
    char *access_log_format;  /* json, combined */
    char *admin_listen;       /* loopback address or "unix:/path"; "" where there is none */
    char *log_level;          /* error, warning, info, debug */
    uint64_t workers;         /* 0: auto */
    uint64_t connections_max; /* of the node */
    uint64_t connections_per_address_max; /* 0: no bound */
    uint64_t failed_checks_max;           /* likewise */
    uint64_t failed_checks_per_minute;
    uint64_t requests_max;         /* of one connection */
    uint64_t rate_min_bytes_per_s; /* under connection pressure */
    uint64_t head_bytes_max;       /* of a request head */
    uint64_t head_timeout_ms;
    uint64_t idle_timeout_ms;
    uint64_t stall_timeout_ms; /* no acknowledgement for so long while a response is under way */
    uint64_t stop_timeout_ms;  /* how long transfers may finish after SIGTERM */
    uint64_t link_lifetime_max_s;
    uint64_t nbf_leeway_s;
    uint64_t use_window_s;
    uint64_t unacknowledged_max;
    uint64_t balance_low_bytes;
    uint64_t grant_validity_ms;
    uint64_t grant_slice_bytes;
    uint64_t admission_timeout_ms; /* Redis must have answered by then: 503 */
    uint64_t tokens_max;           /* remembered tokens per worker */
    uint64_t open_files_max;       /* per worker */
    uint64_t revalidate_ms;
    uint64_t hash_wait_ms;
    uint64_t hash_entries_max;
    uint64_t windows_max; /* downloads open at once on the node */
    uint64_t accounts_max;
    uint64_t accounts_per_issuer_max; /* 0: its share of accounts_max */
    uint64_t journal_segment_bytes;
    uint64_t journal_mark_ms;
    struct config_issuer *issuers;
    unsigned issuers_count;
};

/*
 * Reads and checks a YAML file. Relative paths in it are taken from the file's own directory. *out
 * is the caller's; config_destroy frees it. 0, or a negative errno (-EINVAL: mistakes in the file,
 * -EFBIG: past 1 MiB, -ENOMEM, or open's) with a message of one or more lines, each "FILE:LINE:
 * what is wrong; the cure", in `error`.
 */
int config_load(struct config **out, const char *path, char *error, size_t error_size);
void config_destroy(struct config **config);

/*
 * Puts another listen address in place of the file's, as `serve --listen` does; a public_origin
 * that was derived from listen follows it. 0, or -EINVAL or -ENOMEM with one sentence in `error`.
 */
int config_set_listen(struct config *config, const char *listen, char *error, size_t error_size);

/* Where the configuration of a node comes from. Borrows both strings. */
struct config_source {
    const char *file;
    const char *listen; /* the command line's, in place of the file's; NULL: none */
};

/*
 * Names the keys that `after` gives other values than `before`, in the order of config_table.h:
 * "workers (from 2 to 3), issuers.shop.prefixes (from [/] to [/a/, /b/]), issuers.rival (removed)".
 * Issuers are told apart by their id. A public_origin that merely follows listen is not named. Long
 * values are cut. `text`, of 512 bytes or more, is never cut within a key: from its second half on
 * keys go without values, and what does not fit is counted as "and N more". No value is a secret:
 * secrets stand in files, which are not read. Returns how many keys differ.
 */
unsigned config_changes(const struct config *before, const struct config *after, char *text,
                        size_t size);

/* Prints the table (key, type, default, bounds, unit, help) as commented YAML, a whole example. */
void config_print_reference(FILE *out);
/* The keys outside `issuers` as a JSON array of objects: name, type, required, default,
 * help; for a number also minimum, maximum and unit, for a choice its values. The caller's;
 * NULL without memory. */
json_t *config_reference_json(void);

/* Writes state_dir + "/admin.sock" into `path`. 0, or -ENAMETOOLONG past `size` or the 107 bytes of
 * a Unix socket's path. */
int config_admin_socket(const struct config *config, char *path, size_t size);

#endif
