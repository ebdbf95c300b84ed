/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One redis-server process: where its files are, how it is started, asked and ended. The embedded
 * Redis' supervisor (redis_child.c) calls it. It decides nothing about restarts and keeps no
 * thread.
 */
#ifndef TOLLGATE_SERVER_REDIS_REDIS_PROCESS_H
#define TOLLGATE_SERVER_REDIS_REDIS_PROCESS_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#define REDIS_SOCKET_PATH_MAX 107 /* sun_path without its NUL */

/* Where everything is; absolute, because redis-server changes into its directory. */
struct redis_place {
    char program[PATH_MAX];
    char directory[PATH_MAX];
    char log[PATH_MAX];
    char pid_file[PATH_MAX];
    char socket[REDIS_SOCKET_PATH_MAX + 1];
    int pid_fd; /* owns: the pid file, locked by this node for as long as it may start a
                   redis-server */
};

/* Finds redis-server in PATH's absolute entries and writes its path to `out`. 0 or -ENOENT. */
int redis_program_find(char *out, size_t size);

/*
 * Finds the program, makes STATE_DIR/redis and takes its lock. 0, or a negative errno with the
 * cure: -ENAMETOOLONG, -ENOENT (redis-server is not installed), -EALREADY (another node has the
 * directory).
 */
int redis_place_open(struct redis_place *out, const char *state_dir, char *error,
                     size_t error_size);
void redis_place_close(struct redis_place *place);

struct redis_process {
    pid_t pid;
    int fd; /* owns: its pidfd; readable once it has ended */
};

/*
 * Starts redis-server and notes its pid in the pid file. The kernel ends it (SIGTERM) when the
 * *calling thread* ends, so that must be the thread that watches it. 0 or a negative errno.
 */
int redis_process_start(const struct redis_place *place, struct redis_process *out);
/* Reaps the process, which must have ended or be about to, and writes how it ended: "exited with
 * status 1". */
void redis_process_reap(struct redis_process *process, char *how, size_t how_size);
/*
 * Sends SIGTERM, on which redis-server syncs its append-only file, and SIGKILL at the deadline.
 * Then reaps it, unless the kernel holds the killed process for seconds (its disk does not answer):
 * then `how` says so.
 */
void redis_process_end(struct redis_process *process, int deadline_ms, char *how, size_t how_size);

/*
 * Ends the redis-server that a killed node left on the same socket: the pid file names it and its
 * command line must prove it, else it is left alone. 1 where one was ended, 0 where there was none,
 * or a negative errno.
 */
int redis_process_end_left_over(const struct redis_place *place, int deadline_ms, pid_t *pid,
                                char *error, size_t error_size);

/*
 * Connects and sends PING; never waits. Returns a descriptor that becomes readable when there is an
 * answer (the caller closes it), or a negative errno: nobody listens, or the listener's queue is
 * full.
 */
int redis_process_ping_begin(const struct redis_place *place);
/*
 * Reads the answer: 0 (PONG), -EINPROGRESS (Redis is reading its append-only file), -EBUSY (a
 * script has been running for long), -EPROTO (another answer: Redis is alive all the same), -EAGAIN
 * (no answer yet), or another negative errno: there will be none.
 */
int redis_process_ping_take(int fd);

#endif
