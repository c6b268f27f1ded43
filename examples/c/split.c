/*
 * One job divided two ways from C: neighbours are a tensor-parallel group, ranks of equal place in their groups are a
 * data-parallel one. Each adds up values of its own in both, and checks each of them.
 *
 *     cc -I PREFIX/include split.c -o split -L PREFIX/lib -lnccl -Wl,-rpath,PREFIX/lib
 *     NCCL_COMM_ID=127.0.0.1:29500 crosstie run -n 4 -- ./split
 */
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT 10000

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

/* How many elements of the sum over these ranks are wrong: `count` ranks from `first` on, `step` apart. */
static long wrong_sums(ncclComm_t comm, int rank, int first, int count, int step) {
    static float x[COUNT];
    long wrong = 0;
    for (int i = 0; i < COUNT; i++) x[i] = (float)(rank * 7 + i % 1000);
    CHECK(ncclAllReduce(x, x, COUNT, ncclFloat, ncclSum, comm, NULL));
    for (int i = 0; i < COUNT; i++) {
        float sum = 0;
        for (int n = 0; n < count; n++) sum += (float)((first + n * step) * 7 + i % 1000);
        wrong += x[i] != sum;
    }
    return wrong;
}

int main(void) {
    const char *const ranks[] = {"CROSSTIE_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", "RANK", NULL};
    const char *const sizes[] = {"CROSSTIE_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", "WORLD_SIZE", NULL};
    const int rank = by_launcher(ranks, 0), size = by_launcher(sizes, 1);
    const int width = size % 2 == 0 ? 2 : size, place = rank % width;

    ncclUniqueId id;
    ncclComm_t world, tensor, data;
    CHECK(ncclGetUniqueId(&id)); /* of NCCL_COMM_ID, where it is set: the same on every rank */
    CHECK(ncclCommInitRank(&world, size, id, rank));
    CHECK(ncclCommSplit(world, rank / width, rank, &tensor, NULL));
    CHECK(ncclCommSplit(world, place, rank, &data, NULL));

    long wrong = wrong_sums(tensor, rank, rank - place, width, 1), all = 0;
    wrong += wrong_sums(data, rank, place, size / width, width);
    CHECK(ncclAllReduce(&wrong, &all, 1, ncclInt64, ncclSum, world, NULL));
    if (rank == 0) printf("%d ranks, %d to a tensor-parallel group, %ld wrong\n", size, width, all);
    CHECK(ncclCommDestroy(tensor));
    CHECK(ncclCommDestroy(data));
    CHECK(ncclCommDestroy(world));
    return all == 0 ? 0 : 1;
}
