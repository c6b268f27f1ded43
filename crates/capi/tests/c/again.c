/* Ranks that meet at NCCL_COMM_ID after failures: PROGRAM CASE RANK */
#include "ranks.h"
#include <sys/wait.h>

static ncclResult_t come(ncclComm_t *comm, int rank) {
    ncclUniqueId id;
    DO(ncclGetUniqueId(&id));
    return ncclCommInitRank(comm, 2, id, rank);
}

static void meet(int rank) {
    ncclComm_t comm;
    int x = rank, y = -1;
    if (come(&comm, rank) != ncclSuccess) fail_at(__FILE__, __LINE__, "it meets", ncclSuccess);
    DO(ncclAllReduce(&x, &y, 1, ncclInt, ncclMax, comm, NULL));
    HOLDS(y == 1);
    DO(ncclCommDestroy(comm));
}

/* Rank 0 tries in vain, and then again. */
static void late(int rank) {
    ncclComm_t comm;
    if (rank == 1) {
        sleep(2);
        return meet(rank);
    }
    HOLDS(setenv("CROSSTIE_INIT_TIMEOUT", "1s", 1) == 0);
    REFUSED(come(&comm, rank), ncclTimeout, "rank 1");
    HOLDS(setenv("CROSSTIE_INIT_TIMEOUT", "20s", 1) == 0);
    meet(rank);
}

/* Rank 0's first group is refused, for another call in it. */
static void refused(int rank) {
    ncclComm_t comm;
    if (rank == 0) {
        DO(ncclGroupStart());
        DO(come(&comm, 0));
        HOLDS(ncclAllReduce(NULL, NULL, 1, ncclInt, ncclSum, comm, NULL) != ncclSuccess);
        HOLDS(ncclGroupEnd() != ncclSuccess);
    }
    meet(rank);
}

/* Rank 1 is another process each time, and rank 0 one and the same. */
static void restarted(int rank) {
    for (int times = 0; times < 3; times++) {
        if (rank == 0) {
            meet(rank);
        } else if (fork() == 0) {
            meet(rank);
            exit(0);
        } else {
            int status;
            HOLDS(wait(&status) > 0 && status == 0);
        }
    }
}

/* Two at once, in one order on both ranks. */
static void together(int rank) {
    ncclComm_t comm[2];
    int x[2] = {rank, 10 + rank}, y[2] = {-1, -1};
    DO(ncclGroupStart());
    for (int i = 0; i < 2; i++) DO(come(&comm[i], rank));
    DO(ncclGroupEnd());
    for (int i = 0; i < 2; i++) DO(ncclAllReduce(&x[i], &y[i], 1, ncclInt, ncclMax, comm[i], NULL));
    HOLDS(y[0] == 1 && y[1] == 11);
    for (int i = 0; i < 2; i++) DO(ncclCommDestroy(comm[i]));
}

int main(int argc, char **argv) {
    HOLDS(argc > 2);
    const int rank = atoi(argv[2]);
    if (strcmp(argv[1], "late") == 0) late(rank);
    else if (strcmp(argv[1], "refused") == 0) refused(rank);
    else if (strcmp(argv[1], "restarted") == 0) restarted(rank);
    else together(rank);
    return 0;
}
