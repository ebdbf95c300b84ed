/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ledger counts, each metric once: ledger_stats fills them in, and the server tells them.
 * ledger.h includes this file. A new metric needs a row, and its value in ledger_stats.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_METRICS_H
#define TOLLGATE_STORAGE_LEDGER_METRICS_H

#include <stdbool.h>

#include "server/base/metric.h"

/* The columns are explained in server/base/metric.h. */
#define LEDGER_METRICS(X)                                                                          \
    X(records_written, COUNTER, "records", "", records_written,                                    \
      "Records that were written to the journal.")                                                 \
    X(bytes_written, COUNTER, "bytes", "", bytes_written, "Bytes of these records.")               \
    X(syncs, COUNTER, "syncs", "", syncs, "Times that the journal was made durable (fdatasync).")  \
    X(posts, COUNTER, "posts", "", posts,                                                          \
      "Posts, each with records of one account, that Redis has taken.")                            \
    X(posts_replayed, COUNTER, "posts", "", posts_replayed,                                        \
      "Posts that were sent once more, because Redis might not have them.")                        \
    X(records_posted, COUNTER, "records", "", records_posted, "Records that Redis has taken.")     \
    X(records_unposted, GAUGE, "records", "", records_unposted,                                    \
      "Records of the journal that Redis may not have yet.")                                       \
    X(downloads_open, GAUGE, "downloads", "", downloads_open,                                      \
      "Downloads for which the journal keeps room.")                                               \
    X(accounts, GAUGE, "accounts", "", accounts, "Accounts that have a record in the journal.")    \
    X(responses_undescribed, COUNTER, "responses", "", responses_undescribed,                      \
      "Responses that were billed and of which the journal tells no more.")                        \
    X(accounts_set_aside, GAUGE, "accounts", "", accounts_set_aside,                               \
      "Accounts of which Redis holds something damaged, or lacks records that have left the "      \
      "journal; nothing of them is posted or granted.")                                            \
    X(segments, GAUGE, "files", "", segments, "Files of the journal.")                             \
    X(segments_archived, COUNTER, "files", "", segments_archived,                                  \
      "Files of the journal that were written to the archive and read back.")                      \
    X(archived_bytes, COUNTER, "bytes", "", archived_bytes,                                        \
      "Bytes that these take in the archive, compressed.")                                         \
    X(segments_removed, COUNTER, "files", "", segments_removed,                                    \
      "Files that have left the journal, for the archive where there is one.")                     \
    X(segments_overdue, GAUGE, "files", "", segments_overdue,                                      \
      "Files of the journal that should have left it and cannot: the archive takes none.")         \
    X(archive_failures, COUNTER, "failures", "", archive_failures,                                 \
      "Times that a file could not be archived or removed; the log says why.")                     \
    X(archive_ended, COUNTER, "files", "", archive_ended,                                          \
      "Files that were removed from the archive, as old as journal_archive_keep_days says.")       \
    X(checkpoint_segment, GAUGE, "segment", "", checkpoint_segment,                                \
      "The last segment that the newest checkpoint covers; 0: there is none.")                     \
    X(checkpoints, COUNTER, "checkpoints", "", checkpoints,                                        \
      "Checkpoints that were made and are what the journal comes to.")                             \
    X(checkpoints_refused, COUNTER, "checkpoints", "", checkpoints_refused,                        \
      "Checkpoints that were made and removed, because they are not.")                             \
    X(accounts_filling, GAUGE, "accounts", "", accounts_filling,                                   \
      "Accounts of which Redis has nothing, as when it was emptied, and that wait for their "      \
      "checkpoint to be posted.")                                                                  \
    X(accounts_filled, COUNTER, "accounts", "", accounts_filled,                                   \
      "Accounts of which a checkpoint was posted in place of its records.")                        \
    X(refused_full, COUNTER, "downloads", "", refused_full,                                        \
      "Downloads that were refused because the journal lacked room.")                              \
    X(redis_connects, COUNTER, "connections", "", redis_connects,                                  \
      "Connections to Redis that the poster has made.")                                            \
    X(push_connects, COUNTER, "connections", "", push_connects,                                    \
      "Connections to Redis that were made to hear revocations.")                                  \
    X(revocations_heard, COUNTER, "messages", "", revocations_heard,                               \
      "Messages of Redis that a link was revoked or an account changed.")                          \
    X(notices_lost, COUNTER, "notices", "", notices_lost,                                          \
      "Notices to shops that were dropped at the bound of their queue, or when Redis went away.")

struct ledger_stats {
    LEDGER_METRICS(METRIC_FIELD)
    bool redis_up, push_up;
};

#endif
