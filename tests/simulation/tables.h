/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may go wrong in a simulated world, and what must hold all the same.
 */
#ifndef TOLLGATE_SIMULATION_TABLES_H
#define TOLLGATE_SIMULATION_TABLES_H

/* ---- faults ---- */

/* What may go wrong: name, times a minute (in tenths), and what it is; plan.c says which in a seed. */
#define SIM_FAULTS(X)                                                                              \
    X(cut, 40, "a connection to Redis is cut; some of what was sent arrives, no answer does")      \
    X(delay, 40, "a connection is slow for a while; answers come after their askers gave up")      \
    X(part, 10, "a node and Redis do not reach each other for a while")                            \
    X(stall, 10, "Redis does nothing for a while, then all that waited")                           \
    X(restart_redis, 6, "Redis is killed and comes back with its data")                            \
    X(readonly, 6, "Redis is a replica for a while")                                               \
    X(empty, 3, "Redis loses all data, while it runs")                                             \
    X(lose_redis, 3, "Redis is killed and comes back empty")                                       \
    X(fail_over, 5, "a replica takes the place of Redis, without the newest writes")               \
    X(restore, 2, "Redis comes back as it was some seconds ago")                                   \
    X(between_parts, 20, "Redis loses all data, and more goes wrong while it is filled again")     \
    X(kill, 20, "a node is killed between two steps, and starts again")                            \
    X(kill_writing, 15, "a node is killed while it writes its journal; power may be lost, too")    \
    X(stop, 8, "a node stops in good order, and starts again")                                     \
    X(disk_error, 5, "a write or a sync of the journal fails")                                     \
    X(disk_full, 8, "no segment can be made for a while")                                          \
    X(clock, 15, "a node's clock steps forth or back")                                             \
    X(copy, 3, "a copy of a node's directory is started under the same name")                      \
    X(copy_renamed, 3, "a copy of a node's directory is started under another name")               \
    X(lose_segment, 2, "a node is killed and loses its newest segment")                            \
    X(archive, 25, "what a node writes to its archive is damaged there")

enum sim_fault {
#define X(name, rate, help) SIM_FAULT_##name,
    SIM_FAULTS(X)
#undef X
        SIM_FAULTS_COUNT
};

/* ---- promises ---- */

/* What must hold: name, and what it says. */
#define SIM_PROMISES(X)                                                                            \
    X(billed_not_more, "no account is billed more than its clients received")                      \
    X(billed_exactly, "at rest each byte that a journal keeps is billed once")                     \
    X(balance, "at rest a balance is the money that came in, less what was billed")                \
    X(usage, "at rest the usage by day and file sums up to what was billed")                       \
    X(not_overspent, "no prepaid account receives more than its money")                            \
    X(link_not_overspent, "no link receives more than its max_bytes")                              \
    X(uses, "no link has more uses than its max_uses")                                             \
    X(not_voided, "what a running process has reserved is voided by no call of a dead one")        \
    X(nothing_reserved, "at rest no running node has funds reserved")                              \
    X(reserved_is_covered, "no more is reserved of an account than it can pay")                    \
    X(money_kept, "each operation of which a shop was told is in Redis at rest")                   \
    X(status_is_last, "at rest an account has the status of which the shop was told last")         \
    X(limit_is_last, "at rest an account has the limit of which the shop was told last")           \
    X(watermark, "a watermark never falls, but with the data of Redis")                            \
    X(marked, "after a step of the writer the journal keeps all that was metered, but for the "    \
              "last moment")                                                                       \
    X(closing_has_room, "a download's closing record finds the room reserved for it")              \
    X(answered, "no response waits for ever, and no window asks for ever")                         \
    X(revoked_not_begun, "no response of a revoked link or suspended account begins late")         \
    X(revoked_not_sent, "no transfer of one goes on past its validity")                            \
    X(posted, "at rest everything is posted")                                                      \
    X(serves, "at rest each node serves, hears of revocations and holds nothing")                  \
    X(leased, "no node posts without the lease of its instance")                                   \
    X(copy_waits, "no copy of a directory is granted anything while its original has the lease")   \
    X(caught_up, "no node asks for grants before its journal is replayed to Redis")                \
    X(older_refused, "no node serves from a directory that is older than Redis")                   \
    X(confirmed, "no byte is sent unless Redis was asked within the validity")                     \
    X(metered, "no byte is sent while the journal cannot keep what was sent")                      \
    X(given_back, "after a step of the writer only open downloads are counted and have room")      \
    X(in_force, "what a shop was told is done is done in Redis by then")                           \
    X(opens, "a node's journal can be read when it starts again")                                  \
    X(filled, "parts of a checkpoint are taken in order, and nothing is granted meanwhile")        \
    X(begins, "a start with a checkpoint knows of each account what one without it does")          \
    X(checkpoints, "a checkpoint is made where it is due, and is what the journal comes to")       \
    X(leaves, "what has left the journal stands whole in the archive, and nobody lacks it")        \
    X(sleeps, "an account that leaves memory stands whole in the checkpoint")                      \
    X(set_aside,                                                                                   \
      "at rest an account is set aside, and said to be, where Redis lacks what has left "          \
      "a journal, and only there")                                                                 \
    X(comes_back,                                                                                  \
      "what an emptied Redis, or one whose archives were replayed, comes to is what it "           \
      "had")                                                                                       \
    X(replays, "the same seed ends in the same state")

enum sim_promise {
#define X(name, help) SIM_PROMISE_##name,
    SIM_PROMISES(X)
#undef X
        SIM_PROMISES_COUNT
};

#endif
