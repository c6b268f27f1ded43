/* How a test program becomes ranks: as a process of several, as threads, or as one thread that drives all. */
#ifndef RANKS_H_
#define RANKS_H_

#include <nccl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The ranks that one thread drives. */
typedef struct {
    int size;
    int count;
    int rank[16];
    ncclComm_t comm[16];
} Ranks;

static void fail_at(const char *file, int line, const char *what, ncclResult_t code) {
    fprintf(stderr, "%s:%d: %s: %s (%d): %s\n", file, line, what, ncclGetErrorString(code), (int)code,
            ncclGetLastError(NULL));
    exit(1);
}

/* The call succeeds. */
#define DO(call)                                                             \
    do {                                                                     \
        ncclResult_t code_ = (call);                                         \
        if (code_ != ncclSuccess) fail_at(__FILE__, __LINE__, #call, code_); \
    } while (0)

/* The call is refused with this code, and leaves a text that has this in it. */
#define REFUSED(call, expected, words)                                                           \
    do {                                                                                         \
        ncclResult_t code_ = (call);                                                             \
        if (code_ != (expected) || strstr(ncclGetLastError(NULL), (words)) == NULL)              \
            fail_at(__FILE__, __LINE__, #call " is not refused as " #expected ", " words, code_); \
    } while (0)

#define HOLDS(condition)                                                        \
    do {                                                                        \
        if (!(condition)) fail_at(__FILE__, __LINE__, #condition, ncclSuccess); \
    } while (0)

/* Rank 0 leaves the id in a file, under its name only when it is whole. */
static inline void exchange_id(ncclUniqueId *id, int rank, const char *path) {
    char part[4096];
    FILE *file = NULL;
    if (rank == 0) {
        snprintf(part, sizeof part, "%s.part", path);
        DO(ncclGetUniqueId(id));
        file = fopen(part, "wb");
        HOLDS(file != NULL && fwrite(id, sizeof *id, 1, file) == 1 && fclose(file) == 0);
        HOLDS(rename(part, path) == 0);
        return;
    }
    for (int tries = 0; file == NULL && tries < 60000; tries++) {
        file = fopen(path, "rb");
        if (file == NULL) usleep(1000);
    }
    HOLDS(file != NULL && fread(id, sizeof *id, 1, file) == 1);
    fclose(file);
}

typedef void (*Body)(Ranks *ranks);

typedef struct {
    Body body;
    int rank;
    int size;
    ncclUniqueId id;
} Thread;

static inline void *run_thread(void *argument) {
    Thread *thread = (Thread *)argument;
    Ranks ranks;
    memset(&ranks, 0, sizeof ranks);
    ranks.size = thread->size;
    ranks.count = 1;
    ranks.rank[0] = thread->rank;
    DO(ncclCommInitRank(&ranks.comm[0], thread->size, thread->id, thread->rank));
    thread->body(&ranks);
    return NULL;
}

static inline void as_threads(Body body, int size) {
    pthread_t started[16];
    Thread threads[16];
    ncclUniqueId id;
    DO(ncclGetUniqueId(&id));
    for (int rank = 0; rank < size; rank++) {
        threads[rank].body = body;
        threads[rank].rank = rank;
        threads[rank].size = size;
        threads[rank].id = id;
        HOLDS(pthread_create(&started[rank], NULL, run_thread, &threads[rank]) == 0);
    }
    for (int rank = 0; rank < size; rank++) HOLDS(pthread_join(started[rank], NULL) == 0);
}

static inline void as_one_thread(Body body, int size) {
    Ranks ranks;
    memset(&ranks, 0, sizeof ranks);
    ranks.size = ranks.count = size;
    for (int rank = 0; rank < size; rank++) ranks.rank[rank] = rank;
    DO(ncclCommInitAll(ranks.comm, size, NULL));
    body(&ranks);
}

static inline void as_process(Body body, int rank, int size, const char *path) {
    ncclUniqueId id;
    Ranks ranks;
    exchange_id(&id, rank, path);
    memset(&ranks, 0, sizeof ranks);
    ranks.size = size;
    ranks.count = 1;
    ranks.rank[0] = rank;
    DO(ncclCommInitRank(&ranks.comm[0], size, id, rank));
    body(&ranks);
}

/* PROGRAM threads SIZE | PROGRAM group SIZE | PROGRAM process SIZE RANK FILE */
static inline int run_as(int argc, char **argv, Body body) {
    int size = argc > 2 ? atoi(argv[2]) : 0;
    if (size < 1 || size > 16) return 2;
    if (strcmp(argv[1], "threads") == 0) as_threads(body, size);
    else if (strcmp(argv[1], "group") == 0) as_one_thread(body, size);
    else if (argc > 4) as_process(body, atoi(argv[3]), size, argv[4]);
    else return 2;
    return 0;
}

/* One call for each of the ranks, together. */
#define EACH(i, call)                                  \
    do {                                               \
        DO(ncclGroupStart());                          \
        for (int i = 0; i < r->count; i++) DO(call);   \
        DO(ncclGroupEnd());                            \
    } while (0)

#endif
