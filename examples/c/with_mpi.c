/*
 * NCCL's usual beginning: rank 0 makes a unique id, MPI_Bcast hands it to all. Then every rank sums with every other, and
 * checks each byte.
 *
 *     mpicc -I PREFIX/include with_mpi.c -o with_mpi -L PREFIX/lib -lnccl -Wl,-rpath,PREFIX/lib
 *     mpirun -n 4 ./with_mpi
 *
 * Take the mpirun of the same MPI as mpicc: under another's each process is alone to MPI, says so to nobody, and would
 * make a world of its own.
 */
#include <mpi.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT 250000

static void check(ncclResult_t result, const char *call) {
    if (result == ncclSuccess) return;
    fprintf(stderr, "%s: %s\n%s\n", call, ncclGetErrorString(result), ncclGetLastError(NULL));
    MPI_Abort(MPI_COMM_WORLD, 1);
}

#define CHECK(call) check(call, #call)

int main(int argc, char **argv) {
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);

    ncclUniqueId id;
    ncclComm_t comm;
    if (rank == 0) CHECK(ncclGetUniqueId(&id));
    MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    CHECK(ncclCommInitRank(&comm, size, id, rank));

    long long *send = malloc(sizeof(long long) * COUNT), *recv = malloc(sizeof(long long) * COUNT);
    if (send == NULL || recv == NULL) MPI_Abort(MPI_COMM_WORLD, 1);
    for (int i = 0; i < COUNT; i++) send[i] = (long long)(rank + 1) * (i + 1);
    CHECK(ncclAllReduce(send, recv, COUNT, ncclInt64, ncclSum, comm, NULL));

    const long long all = (long long)size * (size + 1) / 2;
    int wrong = 0, wrong_everywhere = 0;
    for (int i = 0; i < COUNT; i++) wrong += recv[i] != all * (i + 1);
    MPI_Allreduce(&wrong, &wrong_everywhere, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0) printf("%d ranks, %d elements each, %d wrong\n", size, COUNT, wrong_everywhere);

    CHECK(ncclCommDestroy(comm));
    free(send);
    free(recv);
    MPI_Finalize();
    return wrong_everywhere == 0 ? 0 : 1;
}
