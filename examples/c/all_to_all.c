/*
 * All-to-all from C: every rank sends a part of its own to every rank, and checks each byte that comes.
 *
 *     cc -I PREFIX/include all_to_all.c -o all_to_all -L PREFIX/lib -lnccl -Wl,-rpath,PREFIX/lib
 *     NCCL_COMM_ID=127.0.0.1:29500 crosstie run -n 4 -- ./all_to_all
 *
 * No MPI is needed: rank and size come from the launcher's variables, the place to meet from
 * NCCL_COMM_ID, an address of rank 0's host. The same program runs under mpirun.
 */
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT 100000

static void check(ncclResult_t result, const char *call) {
    if (result == ncclSuccess) return;
    fprintf(stderr, "%s: %s\n%s\n", call, ncclGetErrorString(result), ncclGetLastError(NULL));
    exit(1);
}

#define CHECK(call) check(call, #call)

/* The first of these variables that is set, as a number; else the last value. */
static int by_launcher(const char *const *names, int otherwise) {
    for (; *names != NULL; names++)
        if (getenv(*names) != NULL) return atoi(getenv(*names));
    return otherwise;
}

/* Element i of what rank `from` sends to rank `to`. */
static int element(int from, int to, int i) { return from * 1000003 + to * 101 + i; }

int main(void) {
    const char *const ranks[] = {"CROSSTIE_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", "RANK", NULL};
    const char *const sizes[] = {"CROSSTIE_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", "WORLD_SIZE", NULL};
    const int rank = by_launcher(ranks, 0), size = by_launcher(sizes, 1);

    ncclUniqueId id;
    ncclComm_t comm;
    CHECK(ncclGetUniqueId(&id)); /* of NCCL_COMM_ID, where it is set: the same on every rank */
    CHECK(ncclCommInitRank(&comm, size, id, rank));

    int *send = malloc(sizeof(int) * COUNT * (size_t)size);
    int *recv = malloc(sizeof(int) * COUNT * (size_t)size);
    if (send == NULL || recv == NULL) return 1;
    for (int to = 0; to < size; to++)
        for (int i = 0; i < COUNT; i++) send[to * COUNT + i] = element(rank, to, i);

    CHECK(ncclAlltoAll(send, recv, COUNT, ncclInt, comm, NULL));

    long wrong = 0, all = 0;
    for (int from = 0; from < size; from++)
        for (int i = 0; i < COUNT; i++) wrong += recv[from * COUNT + i] != element(from, rank, i);
    CHECK(ncclAllReduce(&wrong, &all, 1, ncclInt64, ncclSum, comm, NULL));
    if (rank == 0) printf("%d ranks, %d elements from each to each, %ld wrong\n", size, COUNT, all);
    CHECK(ncclCommDestroy(comm));
    free(send);
    free(recv);
    return all == 0 ? 0 : 1;
}
