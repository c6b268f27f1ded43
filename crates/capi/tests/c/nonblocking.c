/* Communicators with blocking = 0: one thread makes several, calls on them one by one, and asks. */
#include <dirent.h>

#include "ranks.h"

#define SIZE 3

static void poll_until_done(ncclComm_t comm) {
    ncclResult_t state = ncclInProgress;
    for (int tries = 0; state == ncclInProgress && tries < 60000; tries++) {
        DO(ncclCommGetAsyncError(comm, &state));
        if (state == ncclInProgress) usleep(1000);
    }
    if (state != ncclSuccess) fail_at(__FILE__, __LINE__, ncclGetLastError(comm), state);
}

#define STARTED(call)                                                                \
    do {                                                                             \
        ncclResult_t code_ = (call);                                                 \
        HOLDS(code_ == ncclSuccess || code_ == ncclInProgress);                      \
    } while (0)

/* Until its group has ended an init is in progress. A call that is refused is told, until there is another. */
static void connecting_in_a_group(ncclConfig_t *config) {
    ncclComm_t pair[2];
    ncclUniqueId id;
    ncclResult_t state;
    int x = 1, y[2];
    DO(ncclGetUniqueId(&id));
    DO(ncclGroupStart());
    for (int i = 0; i < 2; i++) STARTED(ncclCommInitRankConfig(&pair[i], 2, id, i, config));
    DO(ncclCommGetAsyncError(pair[0], &state));
    HOLDS(state == ncclInProgress);
    STARTED(ncclGroupEnd());
    for (int i = 0; i < 2; i++) poll_until_done(pair[i]);
    STARTED(ncclSend(&x, 1, ncclInt, 0, pair[0], NULL));
    for (state = ncclInProgress; state == ncclInProgress; usleep(1000)) DO(ncclCommGetAsyncError(pair[0], &state));
    for (int asked = 0; asked < 2; asked++) {
        HOLDS(state == ncclInvalidArgument && strstr(ncclGetLastError(pair[0]), "itself") != NULL);
        DO(ncclCommGetAsyncError(pair[0], &state));
    }
    for (int i = 0; i < 2; i++) STARTED(ncclAllReduce(&x, &y[i], 1, ncclInt, ncclSum, pair[i], NULL));
    for (int i = 0; i < 2; i++) poll_until_done(pair[i]);
    HOLDS(y[0] == 2 && y[1] == 2);
    for (int i = 0; i < 2; i++) DO(ncclCommDestroy(pair[i]));
}

static int threads(void) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    HOLDS(tasks != NULL);
    while (readdir(tasks) != NULL) count++;
    closedir(tasks);
    return count;
}

/* An id that no rank uses keeps no thread. */
static void unused_ids(void) {
    ncclUniqueId id;
    DO(ncclGetUniqueId(&id));
    int before = threads();
    for (int i = 0; i < 50; i++) DO(ncclGetUniqueId(&id));
    HOLDS(threads() == before);
}

int main(void) {
    unused_ids();
    ncclUniqueId id;
    ncclComm_t comm[SIZE], child[SIZE];
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    int x[SIZE], y[SIZE], z[SIZE];
    config.blocking = 0;
    DO(ncclGetUniqueId(&id));
    /* No group: none of these can wait for the others. */
    for (int i = 0; i < SIZE; i++) STARTED(ncclCommInitRankConfig(&comm[i], SIZE, id, i, &config));
    for (int i = 0; i < SIZE; i++) poll_until_done(comm[i]);
    connecting_in_a_group(&config);
    for (int i = 0; i < SIZE; i++) {
        x[i] = i + 1;
        STARTED(ncclAllReduce(&x[i], &y[i], 1, ncclInt, ncclSum, comm[i], NULL));
        STARTED(ncclAllReduce(&y[i], &z[i], 1, ncclInt, ncclProd, comm[i], NULL));
    }
    for (int i = 0; i < SIZE; i++) poll_until_done(comm[i]);
    for (int i = 0; i < SIZE; i++) HOLDS(y[i] == 6 && z[i] == 216);
    /* A group returns as well. */
    DO(ncclGroupStart());
    for (int i = 0; i < SIZE; i++) {
        STARTED(ncclSend(&x[i], 1, ncclInt, (i + 1) % SIZE, comm[i], NULL));
        STARTED(ncclRecv(&y[i], 1, ncclInt, (i + 2) % SIZE, comm[i], NULL));
    }
    STARTED(ncclGroupEnd());
    for (int i = 0; i < SIZE; i++) poll_until_done(comm[i]);
    for (int i = 0; i < SIZE; i++) HOLDS(y[i] == x[(i + 2) % SIZE]);
    for (int i = 0; i < SIZE; i++) STARTED(ncclCommSplit(comm[i], 0, -i, &child[i], NULL));
    for (int i = 0; i < SIZE; i++) poll_until_done(child[i]);
    for (int i = 0; i < SIZE; i++) {
        int rank;
        DO(ncclCommUserRank(child[i], &rank));
        HOLDS(rank == SIZE - 1 - i);
    }
    for (int i = 0; i < SIZE; i++) STARTED(ncclCommFinalize(child[i]));
    for (int i = 0; i < SIZE; i++) poll_until_done(child[i]);
    for (int i = 0; i < SIZE; i++) DO(ncclCommDestroy(child[i]));
    /* A call that waits for a rank that never comes is ended by abort, in time. */
    STARTED(ncclAllReduce(&x[0], &z[0], 1, ncclInt, ncclSum, comm[0], NULL));
    usleep(20000);
    ncclResult_t state;
    DO(ncclCommGetAsyncError(comm[0], &state));
    HOLDS(state == ncclInProgress);
    for (int i = 0; i < SIZE; i++) DO(ncclCommAbort(comm[i]));
    /* So is one that is still connecting. */
    DO(ncclGetUniqueId(&id));
    STARTED(ncclCommInitRankConfig(&comm[0], 2, id, 0, &config));
    DO(ncclCommGetAsyncError(comm[0], &state));
    HOLDS(state == ncclInProgress);
    DO(ncclCommAbort(comm[0]));
    return 0;
}
