/* Ranks that are children of a process which had a communicator before: one ends early, and harms nobody. */
#include "ranks.h"
#include <sys/wait.h>

#define SIZE 3

/* A child of a rank gives up its copy of the communicator, which disturbs nobody. */
static void grandchild(int rank, ncclComm_t comm) {
    int status;
    pid_t child = fork();
    HOLDS(child >= 0);
    if (child == 0) {
        int x = 1, y;
        HOLDS(ncclAllReduce(&x, &y, 1, ncclInt, ncclSum, comm, NULL) != ncclSuccess);
        if (rank == 2) HOLDS(ncclCommFinalize(comm) == ncclInvalidArgument);
        if (rank == 1) DO(ncclCommAbort(comm));
        else DO(ncclCommDestroy(comm));
        exit(0);
    }
    HOLDS(waitpid(child, &status, 0) == child);
    HOLDS(status == 0);
}

static void child(int rank, int from) {
    ncclUniqueId id;
    ncclComm_t comm;
    int x = 1, y = 0;
    HOLDS(read(from, &id, sizeof id) == sizeof id);
    DO(ncclCommInitRank(&comm, SIZE, id, rank));
    DO(ncclAllReduce(&x, &y, 1, ncclInt, ncclSum, comm, NULL));
    HOLDS(y == SIZE);
    grandchild(rank, comm);
    for (int i = 0; i < 3; i++) {
        DO(ncclAllReduce(&x, &y, 1, ncclInt, ncclSum, comm, NULL));
        HOLDS(y == SIZE);
    }
    if (rank == 0) exit(0);
    usleep(300000);
    for (int i = 0; i < 20; i++) {
        if (rank == 1) DO(ncclSend(&x, 1, ncclInt, 2, comm, NULL));
        else DO(ncclRecv(&y, 1, ncclInt, 1, comm, NULL));
        usleep(5000);
    }
    exit(0);
}

int main(void) {
    ncclComm_t before;
    ncclUniqueId id;
    int ends[2], status;
    DO(ncclCommInitAll(&before, 1, NULL));
    HOLDS(pipe(ends) == 0);
    for (int rank = 0; rank < SIZE; rank++) {
        if (fork() == 0) child(rank, ends[0]);
    }
    DO(ncclGetUniqueId(&id));
    for (int rank = 0; rank < SIZE; rank++) HOLDS(write(ends[1], &id, sizeof id) == sizeof id);
    for (int rank = 0; rank < SIZE; rank++) {
        HOLDS(wait(&status) > 0);
        HOLDS(status == 0);
    }
    DO(ncclCommDestroy(before));
    return 0;
}
