/* Memory of a GPU is refused, not followed; the host's is not. PROGRAM DRIVER */
#include "ranks.h"

#include <dlfcn.h>

static void sums(ncclComm_t comm, float *of_gpu, float *managed) {
    float host[4] = {1, 2, 3, 4}, sum[4] = {0};
    managed[0] = 7;
    REFUSED(ncclAllReduce(of_gpu, sum, 4, ncclFloat, ncclSum, comm, NULL), ncclInvalidUsage, "memory of a GPU");
    REFUSED(ncclAllReduce(host, of_gpu + 8, 4, ncclFloat, ncclSum, comm, NULL), ncclInvalidUsage, "recvbuff");
    REFUSED(ncclSend(of_gpu, 4, ncclFloat, 0, comm, NULL), ncclInvalidUsage, "sendbuff");
    DO(ncclAllReduce(of_gpu, sum, 0, ncclFloat, ncclSum, comm, NULL));
    DO(ncclAllReduce(host, sum, 4, ncclFloat, ncclSum, comm, NULL));
    HOLDS(sum[3] == 4);
    DO(ncclAllReduce(managed, sum, 4, ncclFloat, ncclSum, comm, NULL));
    HOLDS(sum[0] == 7);
}

int main(int argc, char **argv) {
    ncclComm_t before, comm;
    void *driver;
    HOLDS(argc == 2);
    DO(ncclCommInitAll(&before, 1, NULL));
    driver = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    HOLDS(driver != NULL);
    DO(ncclCommInitAll(&comm, 1, NULL));
    sums(comm, (float *)dlsym(driver, "of_gpu"), (float *)dlsym(driver, "managed"));
    sums(before, (float *)dlsym(driver, "of_gpu"), (float *)dlsym(driver, "managed"));
    DO(ncclCommDestroy(comm));
    DO(ncclCommDestroy(before));
    return 0;
}
