/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hasher's thread and its two queues. Workers ask through hasher_ask, or hasher_ask_first for a
 * request that waits, and never wait themselves; the thread opens each file itself, hashes it and
 * puts the result into the hash store. It never touches a cache or a media_file, which belong to
 * their worker.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/media/hasher_internal.h"

/* A file up to this size stays in the page cache after it was hashed: it was asked for a moment
 * ago. */
#define KEEP_BYTES_MAX (UINT64_C(16) << 20)
/* A lower priority than the workers', for the processor and (where the scheduler looks)
 * for the disk. */
#define NICENESS       10

struct job {
    struct file_identity identity;
    uint64_t until_ms; /* of FIRST: afterwards nobody waits for it */
    char path[MEDIA_PATH_MAX + 1];
};

/* Jobs in the order in which they are done. All but `finished` is under the hasher's lock. */
struct job_queue {
    struct job *jobs; /* owns; a ring of `max` */
    uint32_t max, head, waiting;
    uint64_t asked; /* the last ticket given */
    atomic_uint_fast64_t finished;
    struct content_reader *reader; /* owns; only the thread uses it */
};

/* Jobs of FIRST are done before those of ORDINARY, and in the midst of one; but they get no more
 * than half of the time, so that the others are done some day, too. */
enum job_class { FIRST, ORDINARY, CLASSES };

struct hasher {
    const struct path_root *root;  /* borrowed */
    struct hash_store *hashes;     /* borrowed */
    void (*hashed)(void *context); /* after each job of FIRST */
    void *context;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a job came, or stop */
    struct job_queue queues[CLASSES];
    uint64_t refused;
    uint64_t first_after_ms; /* of the thread: until then ORDINARY jobs go before FIRST */

    atomic_bool stop;        /* written under the lock, read without */
    atomic_bool first_waits; /* likewise: FIRST has a job that was not begun */
    atomic_uint_fast64_t files_hashed, bytes_hashed, files_abandoned;
};

struct work {
    struct hasher *hasher;
    enum job_class class;
    const struct job *job;
};

static bool do_one(struct hasher *hasher, enum job_class class);

/* ---- the thread ---- */

static void do_first(struct hasher *hasher)
{
    pthread_mutex_lock(&hasher->lock);
    (void)do_one(hasher, FIRST);
    pthread_mutex_unlock(&hasher->lock);
}

static bool go_on(void *context, uint64_t bytes)
{
    const struct work *work = context;
    struct hasher *hasher = work->hasher;
    struct content_hash known;
    hasher_count_bytes(hasher, bytes);
    if (atomic_load_explicit(&hasher->stop, memory_order_relaxed))
        return false;
    if (work->class == FIRST)
        return clock_monotonic_ms() < work->job->until_ms;
    if (!atomic_load_explicit(&hasher->first_waits, memory_order_relaxed) ||
        clock_monotonic_ms() < hasher->first_after_ms)
        return true;
    do_first(hasher);
    /* The job of FIRST may have been this file. */
    return !hash_store_find(hasher->hashes, &work->job->identity, &known);
}

/* Waits until a fresh version's change time tells it from the next version, or until stop.
 * Meanwhile an ORDINARY job lets those of FIRST be done. */
static void settle(const struct work *work, const struct file_identity *identity)
{
    struct hasher *hasher = work->hasher;
    uint64_t wait_ns = content_settle_ns(identity, content_now_ns());
    if (wait_ns == 0)
        return;
    const struct timespec until = clock_monotonic_after(wait_ns);
    pthread_mutex_lock(&hasher->lock);
    do {
        while (work->class == ORDINARY && do_one(hasher, FIRST))
            ;
    } while (!atomic_load_explicit(&hasher->stop, memory_order_relaxed) &&
             pthread_cond_timedwait(&hasher->changed, &hasher->lock, &until) != ETIMEDOUT);
    pthread_mutex_unlock(&hasher->lock);
}

static int hash_open_file(struct work *work, int fd)
{
    struct hasher *hasher = work->hasher;
    struct file_identity identity;
    int error = file_identify(fd, &identity, NULL);
    if (error)
        return error;
    if (!file_identity_equal(&identity, &work->job->identity))
        return -EBUSY; /* replaced since; the worker that opens the new version asks for that */

    settle(work, &identity);
    struct content_hash hash;
    if (hash_store_find(hasher->hashes, &identity, &hash))
        return -ECANCELED; /* it was hashed meanwhile, for a request that waited */
    error = content_reader_hash(hasher->queues[work->class].reader, fd, &identity, KEEP_BYTES_MAX,
                                go_on, work, &hash);
    if (!error)
        hash_store_put(hasher->hashes, &identity, &hash);
    return error;
}

static void work_on(struct work *work)
{
    struct hasher *hasher = work->hasher;
    const struct job *job = work->job;
    /* Another worker may have asked for the same file, and another process may have hashed it. */
    struct content_hash known;
    if (hash_store_find(hasher->hashes, &job->identity, &known))
        return;
    hash_store_refresh(hasher->hashes);
    if (hash_store_find(hasher->hashes, &job->identity, &known))
        return;

    int fd = path_open(hasher->root, media_relative_path(job->path), 0);
    int error = fd < 0 ? fd : hash_open_file(work, fd);
    if (fd >= 0)
        close(fd);
    if (error != -ECANCELED)
        hasher_count_file(hasher, error == 0);
}

/* Takes the next job of that class. False where there is none. The caller holds the lock. */
static bool take_job(struct hasher *hasher, enum job_class class, struct job *job)
{
    struct job_queue *queue = &hasher->queues[class];
    if (queue->waiting == 0)
        return false;
    *job = queue->jobs[queue->head];
    queue->head = (queue->head + 1) % queue->max;
    queue->waiting--;
    atomic_store_explicit(&hasher->first_waits, hasher->queues[FIRST].waiting > 0,
                          memory_order_relaxed);
    return true;
}

/* Does one job of the class. False where it has none or the thread is to stop. The caller holds the
 * lock, which is released meanwhile. */
static bool do_one(struct hasher *hasher, enum job_class class)
{
    struct job job;
    if (atomic_load_explicit(&hasher->stop, memory_order_relaxed) || !take_job(hasher, class, &job))
        return false;
    pthread_mutex_unlock(&hasher->lock);
    uint64_t begun_ms = clock_monotonic_ms();
    work_on(&(struct work){hasher, class, &job});
    /* Release: a thread that sees the ticket finished finds its hash in the store. */
    atomic_fetch_add_explicit(&hasher->queues[class].finished, 1, memory_order_release);
    if (class == FIRST) {
        uint64_t ended_ms = clock_monotonic_ms();
        hasher->first_after_ms = ended_ms + (ended_ms - begun_ms);
        if (hasher->hashed != NULL)
            hasher->hashed(hasher->context);
    }
    pthread_mutex_lock(&hasher->lock);
    return true;
}

static void *run(void *context)
{
    struct hasher *hasher = context;
    (void)pthread_setname_np(pthread_self(), "media-hasher");
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS); /* Linux: this thread only */

    pthread_mutex_lock(&hasher->lock);
    while (!atomic_load_explicit(&hasher->stop, memory_order_relaxed)) {
        bool first = clock_monotonic_ms() >= hasher->first_after_ms;
        if (!do_one(hasher, first ? FIRST : ORDINARY) && !do_one(hasher, first ? ORDINARY : FIRST))
            pthread_cond_wait(&hasher->changed, &hasher->lock);
    }
    pthread_mutex_unlock(&hasher->lock);
    return NULL;
}

/* ---- what the others call ---- */

/* With all signals blocked: other threads handle the process's signals. */
static int start(struct hasher *hasher)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&hasher->thread, NULL, run, hasher);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    hasher->started = error == 0;
    return -error;
}

static int create_queue(struct job_queue *queue, uint32_t max)
{
    queue->max = max;
    queue->jobs = calloc(max, sizeof(*queue->jobs));
    return queue->jobs != NULL ? content_reader_create(&queue->reader) : -ENOMEM;
}

int hasher_create(struct hasher **out, const struct path_root *root, struct hash_store *hashes,
                  const struct media_options *options)
{
    if (options->hash_queue_max == 0 || options->hash_first_max == 0)
        return -EINVAL;
    struct hasher *hasher = calloc(1, sizeof(*hasher));
    if (hasher == NULL)
        return -ENOMEM;
    hasher->root = root;
    hasher->hashes = hashes;
    hasher->hashed = options->hashed;
    hasher->context = options->context;
    pthread_mutex_init(&hasher->lock, NULL);
    clock_cond_init(&hasher->changed);

    int error = create_queue(&hasher->queues[ORDINARY], options->hash_queue_max);
    if (!error)
        error = create_queue(&hasher->queues[FIRST], options->hash_first_max);
    if (!error)
        error = start(hasher);
    if (error) {
        hasher_destroy(&hasher);
        return error;
    }
    *out = hasher;
    return 0;
}

void hasher_destroy(struct hasher **hasher)
{
    struct hasher *ending = *hasher;
    if (ending == NULL)
        return;
    if (ending->started) {
        pthread_mutex_lock(&ending->lock);
        atomic_store_explicit(&ending->stop, true, memory_order_relaxed);
        pthread_cond_signal(&ending->changed);
        pthread_mutex_unlock(&ending->lock);
        pthread_join(ending->thread, NULL);
    }
    for (unsigned i = 0; i < CLASSES; i++) {
        content_reader_destroy(&ending->queues[i].reader);
        free(ending->queues[i].jobs);
    }
    pthread_cond_destroy(&ending->changed);
    pthread_mutex_destroy(&ending->lock);
    free(ending);
    *hasher = NULL;
}

static uint64_t ask(struct hasher *hasher, enum job_class class, const char *path,
                    size_t path_length, const struct file_identity *identity, uint64_t until_ms)
{
    struct job_queue *queue = &hasher->queues[class];
    uint64_t ticket = 0;
    pthread_mutex_lock(&hasher->lock);
    /* FIRST also counts the job under way, since a request waits for it, too. */
    uint64_t waiting =
        class == FIRST ? queue->asked - atomic_load(&queue->finished) : queue->waiting;
    if (path_length > MEDIA_PATH_MAX || waiting == queue->max) {
        hasher->refused++;
    } else {
        struct job *job = &queue->jobs[(queue->head + queue->waiting) % queue->max];
        job->identity = *identity;
        job->until_ms = until_ms;
        memcpy(job->path, path, path_length);
        job->path[path_length] = '\0';
        queue->waiting++;
        ticket = ++queue->asked;
        if (class == FIRST)
            atomic_store_explicit(&hasher->first_waits, true, memory_order_relaxed);
        pthread_cond_signal(&hasher->changed);
    }
    pthread_mutex_unlock(&hasher->lock);
    return ticket;
}

uint64_t hasher_ask(struct hasher *hasher, const char *path, size_t path_length,
                    const struct file_identity *identity)
{
    return ask(hasher, ORDINARY, path, path_length, identity, UINT64_MAX);
}

uint64_t hasher_ask_first(struct hasher *hasher, const char *path, size_t path_length,
                          const struct file_identity *identity, uint64_t until_ms)
{
    return ask(hasher, FIRST, path, path_length, identity, until_ms);
}

/* Tickets of a class are finished in their order. */
static bool is_through(const struct hasher *hasher, enum job_class class, uint64_t ticket)
{
    return atomic_load_explicit(&hasher->queues[class].finished, memory_order_acquire) >= ticket;
}

bool hasher_is_through(const struct hasher *hasher, uint64_t ticket)
{
    return is_through(hasher, ORDINARY, ticket);
}

bool hasher_is_through_first(const struct hasher *hasher, uint64_t ticket)
{
    return is_through(hasher, FIRST, ticket);
}

void hasher_count_bytes(struct hasher *hasher, uint64_t bytes)
{
    atomic_fetch_add_explicit(&hasher->bytes_hashed, bytes, memory_order_relaxed);
}

void hasher_count_file(struct hasher *hasher, bool hashed)
{
    atomic_fetch_add_explicit(hashed ? &hasher->files_hashed : &hasher->files_abandoned, 1,
                              memory_order_relaxed);
}

void hasher_stats(struct hasher *hasher, struct media_hash_stats *out)
{
    pthread_mutex_lock(&hasher->lock);
    for (unsigned i = 0; i < CLASSES; i++)
        out->queue_length +=
            hasher->queues[i].asked -
            atomic_load_explicit(&hasher->queues[i].finished, memory_order_acquire);
    out->queue_refused = hasher->refused;
    pthread_mutex_unlock(&hasher->lock);
    out->files_hashed = atomic_load_explicit(&hasher->files_hashed, memory_order_relaxed);
    out->bytes_hashed = atomic_load_explicit(&hasher->bytes_hashed, memory_order_relaxed);
    out->files_abandoned = atomic_load_explicit(&hasher->files_abandoned, memory_order_relaxed);
}
