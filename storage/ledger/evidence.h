/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journals of a state directory say of downloads, read from outside, as `tollgate download` does: of the
 * node's own directory beside the running node, of a copy, or of one of a node that is gone. It writes nothing
 * there and asks Redis nothing; the lane's lock is looked at as in verify.h.
 */
#ifndef TOLLGATE_LEDGER_EVIDENCE_H
#define TOLLGATE_LEDGER_EVIDENCE_H

#include "storage/ledger/ledger_names.h"

/* Told of each segment that is begun, and of the last one; and where those are that have left the journal. */
struct ledger_evidence_watch {
    void (*progress)(void *context, uint32_t segment, uint32_t last); /* the caller's, or NULL */
    void *context;
    const char *archive; /* the directory of the archive, or NULL */
};

/* Where a record stands, and what it proves. */
struct ledger_evidence_place {
    uint32_t segment;
    uint64_t byte;    /* of the segment's file, at which it begins */
    uint64_t chain;   /* its value of the chain: what the next record is seeded with */
    uint64_t time_ms; /* since 1970, when it was written */
};

/* A response that ended. */
struct ledger_evidence_response {
    uint64_t started_ms;
    /* When the mark was written that told it: it ended then, or before, within a mark's interval. */
    uint64_t told_ms;
    uint64_t first,
        length; /* its first byte of the file; how many were acknowledged, in all parts */
    unsigned char client[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t client_bits;      /* how many of these were kept; 0: none */
    uint8_t tls;              /* 12, 13; 0: none */
    bool proxied;             /* a proxy spoke for the client */
    char *key;                /* owns: the signing key's id; NULL: unknown */
};

struct ledger_evidence_record {
    struct ledger_evidence_place place;
    bool is_mark, is_closing;  /* else it tells responses that the next mark counts */
    uint64_t bytes, responses; /* of a mark: in all, up to there */
};

enum ledger_evidence_state {
    LEDGER_EVIDENCE_OPEN,   /* its node has it open: it may still move */
    LEDGER_EVIDENCE_CLOSED, /* its last record says that it is over */
    LEDGER_EVIDENCE_CUT, /* its node was killed: what it acknowledged behind the last mark is not known */
};

enum ledger_evidence_whole {
    LEDGER_EVIDENCE_PART,    /* some byte of the file was not acknowledged */
    LEDGER_EVIDENCE_WHOLE,   /* all bytes of the file were acknowledged */
    LEDGER_EVIDENCE_UNKNOWN, /* some responses, or the file's size, are not described */
};

struct ledger_evidence {
    uint64_t download;
    char lane[8];      /* "lane-a" */
    char instance[33]; /* of the lane */
    char issuer[LEDGER_ISSUER_MAX + 1], account[LEDGER_ACCOUNT_MAX + 1];
    char file[LEDGER_FILE_MAX + 1]; /* its path, as on disk */
    bool has_link, has_content;
    unsigned char link[LEDGER_LINK_ID_BYTES];
    unsigned char content[16]; /* XXH3-128 of the file */
    uint64_t size;             /* of the file; 0: unknown */
    enum ledger_evidence_state state;
    enum ledger_evidence_whole whole;
    uint64_t began_ms,
        ended_ms; /* the first response's start, or the first mark; the last mark that moved */
    uint64_t bytes, responses, undescribed;
    struct ledger_evidence_response *described; /* owns; by their start */
    size_t described_count, described_room;
    struct ledger_evidence_record *records; /* owns */
    size_t records_count, records_room;
    /* The last record of the lane of the UTC day of the download's own last record. */
    bool has_head;
    bool is_head_final; /* a record of a later day follows it: it does not move any more */
    struct ledger_evidence_place head;
};

/*
 * Finds the download, and with `with_head` the head of its day, for which it reads on to the end of that day. 0;
 * -ENOENT: the journals have no such download; -ENODATA: the segment in which it began has left the journal, and is
 * not in the archive; -EBADMSG: the journal is damaged; another negative errno: it cannot
 * be read. Of the last three one sentence stands in `error`, and *out has what was found before that: nothing where
 * its `records_count` is 0. ledger_evidence_free follows in any case.
 */
int ledger_evidence_find(const char *state_dir, uint64_t download, bool with_head,
                         const struct ledger_evidence_watch *watch, struct ledger_evidence *out,
                         char *error, size_t error_size);
void ledger_evidence_free(struct ledger_evidence *evidence);

/* A download of an account, in a list. */
struct ledger_evidence_row {
    uint64_t download;
    const char *tag, *file; /* borrow: valid until the callback returns */
    bool has_link, is_closed;
    unsigned char link[LEDGER_LINK_ID_BYTES];
    uint64_t size, bytes, responses; /* as of its last record of these days */
    uint64_t first_ms, last_ms;      /* of its records of these days */
};

/* Whose downloads, and when: those with records from `from_ms` on and before `to_ms`, since 1970. */
struct ledger_evidence_query {
    const char *issuer, *account;
    uint64_t from_ms, to_ms;
    void (*row)(void *context, const struct ledger_evidence_row *row);
    void *context;
    uint64_t
        begins_ms; /* where records of these days have left the journal, and are not in the archive: those
                           from then on were read; 0: all were */
    uint64_t
        unnamed; /* marks of downloads without a number of their own (formats 1 and 2), left out */
};
/*
 * Calls `row` for each download in the journal of the lane of this number, in the order of their first records. 0;
 * -ENOENT: there is no journal in such a lane; otherwise as ledger_evidence_find, behind the rows of what was read.
 */
int ledger_evidence_list(const char *state_dir, unsigned lane, struct ledger_evidence_query *query,
                         const struct ledger_evidence_watch *watch, char *error, size_t error_size);

#endif
