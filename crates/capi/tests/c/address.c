/* Ranks that meet at NCCL_COMM_ID, several times, also while communicators of before are alive. */
#include "ranks.h"

int main(int argc, char **argv) {
    HOLDS(argc > 2);
    const int rank = atoi(argv[1]), size = atoi(argv[2]);
    ncclComm_t kept = NULL;
    for (int time = 0; time < 3; time++) {
        ncclUniqueId id;
        ncclComm_t comm;
        int x = rank, y = -1;
        DO(ncclGetUniqueId(&id));
        DO(ncclCommInitRank(&comm, size, id, rank));
        DO(ncclAllReduce(&x, &y, 1, ncclInt, ncclMax, comm, NULL));
        HOLDS(y == size - 1);
        if (time == 1) kept = comm;
        else DO(ncclCommDestroy(comm));
    }
    DO(ncclCommDestroy(kept));
    return 0;
}
