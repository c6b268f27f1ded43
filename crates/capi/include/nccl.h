/*
 * nccl.h of Crosstie: the declarations of NCCL 2.30's C interface, for programs on host memory.
 *
 * A function returns when it is complete; between ncclGroupStart and ncclGroupEnd, the outermost
 * ncclGroupEnd does; on a communicator that was made with blocking = 0 it may return ncclInProgress,
 * and ncclCommGetAsyncError tells when it is complete. Streams are not looked at: pass anything.
 * Buffers are host memory. What is marked "not yet" returns ncclInvalidUsage.
 */
#ifndef NCCL_H_
#define NCCL_H_

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__has_include)
#if __has_include(<cuda_runtime.h>)
#include <cuda_runtime.h>
#define CROSSTIE_HAS_CUDA_RUNTIME 1
#endif
#if __has_include(<cuda_fp16.h>)
#include <cuda_fp16.h>
#endif
#if __has_include(<cuda_bf16.h>)
#include <cuda_bf16.h>
#endif
#if defined(__cplusplus) && __has_include(<cuda_fp8.h>)
#include <cuda_fp8.h>
#endif
#endif
#if !defined(CROSSTIE_HAS_CUDA_RUNTIME)
/* As CUDA has it: a pointer to something that only CUDA knows. */
typedef struct CUstream_st *cudaStream_t;
#endif

#define NCCL_MAJOR 2
#define NCCL_MINOR 30
#define NCCL_PATCH 7
#define NCCL_SUFFIX ""

#define NCCL_VERSION_CODE 23007
#define NCCL_VERSION(X, Y, Z) \
    (((X) <= 2 && (Y) <= 8) ? (X) * 1000 + (Y) * 100 + (Z) : (X) * 10000 + (Y) * 100 + (Z))

#if defined(__cplusplus)
extern "C" {
#define CROSSTIE_NO_ARGUMENTS
#else
#define CROSSTIE_NO_ARGUMENTS void
#endif

/* Handles. Only NULL says anything by its value. */
typedef struct ncclComm *ncclComm_t;
typedef struct ncclWindow_vidmem *ncclWindow_t;
#define NCCL_COMM_NULL NULL

/* What brings ranks together. It contains a secret: whoever has it may join. */
#define NCCL_UNIQUE_ID_BYTES 128
typedef struct { char internal[NCCL_UNIQUE_ID_BYTES]; } ncclUniqueId;

typedef enum {
    ncclSuccess = 0,
    ncclUnhandledCudaError = 1, /* no function of this library */
    ncclSystemError = 2,        /* the operating system of this host */
    ncclInternalError = 3,      /* a fault of this library */
    ncclInvalidArgument = 4,    /* a value that the function does not take */
    ncclInvalidUsage = 5,       /* a call that cannot be made, or not now; ranks whose calls differ */
    ncclRemoteError = 6,        /* another rank failed, or the way to it */
    ncclInProgress = 7,
    ncclTimeout = 8,            /* a rank that does not come, or nothing that moves */
    ncclNumResults = 9
} ncclResult_t;

/* What configurations hold where nothing was set. */
#define NCCL_CONFIG_UNDEF_INT INT_MIN
#define NCCL_CONFIG_UNDEF_PTR NULL
#define NCCL_SPLIT_NOCOLOR -1
#define NCCL_UNDEF_FLOAT -1.0f
#define NCCL_API_MAGIC 0xcafebeef

/* Flags of windows. */
#define NCCL_WIN_DEFAULT 0x00
#define NCCL_WIN_COLL_SYMMETRIC 0x01
#define NCCL_WIN_STRICT_ORDERING 0x02
#define NCCL_WIN_REQUIRED_ALIGNMENT 4096

#define NCCL_CTA_POLICY_DEFAULT 0x00
#define NCCL_CTA_POLICY_EFFICIENCY 0x01
#define NCCL_CTA_POLICY_ZERO 0x02

/* Flags of ncclCommShrink, ncclCommRevoke and ncclCommSuspend. */
#define NCCL_SHRINK_DEFAULT 0x00
#define NCCL_SHRINK_ABORT 0x01 /* ends what is under way on the parent first */
#define NCCL_REVOKE_DEFAULT 0x00
#define NCCL_SUSPEND_MEM 0x01

/*
 * Begin with NCCL_CONFIG_INITIALIZER and set what matters. Here blocking matters (1, or 0: calls may
 * return before they are complete), and netName, which can be "Socket". The others tell how GPUs and
 * their networks are used; they are checked, and change nothing on host memory.
 */
typedef struct ncclConfig_v23000 {
    size_t size;
    unsigned int magic;
    unsigned int version;
    int blocking;
    int cgaClusterSize;
    int minCTAs;
    int maxCTAs;
    const char *netName;
    int splitShare;
    int trafficClass;
    const char *commName;
    int collnetEnable;
    int CTAPolicy;
    int shrinkShare;
    int nvlsCTAs;
    int nChannelsPerNetPeer;
    int nvlinkCentricSched;
    int graphUsageMode;
    int numRmaCtx;
    int maxP2pPeers;
    int graphStreamOrdering;
} ncclConfig_t;

#define NCCL_CONFIG_INITIALIZER { \
    sizeof(ncclConfig_t), NCCL_API_MAGIC, NCCL_VERSION_CODE, \
    NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT, \
    NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_PTR, NCCL_CONFIG_UNDEF_INT, \
    NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_PTR, NCCL_CONFIG_UNDEF_INT, \
    NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT, \
    NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT, \
    NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT \
}

typedef struct ncclSimInfo_v22200 {
    size_t size;
    unsigned int magic;
    unsigned int version;
    float estimatedTime;
} ncclSimInfo_t;

#define NCCL_SIM_INFO_INITIALIZER { \
    sizeof(ncclSimInfo_t), 0x74685283, NCCL_VERSION_CODE, NCCL_UNDEF_FLOAT \
}

/* Element types. */
typedef enum {
    ncclInt8 = 0,
    ncclChar = 0,
    ncclUint8 = 1,
    ncclInt32 = 2,
    ncclInt = 2,
    ncclUint32 = 3,
    ncclInt64 = 4,
    ncclUint64 = 5,
    ncclFloat16 = 6,
    ncclHalf = 6,
    ncclFloat32 = 7,
    ncclFloat = 7,
    ncclFloat64 = 8,
    ncclDouble = 8,
    ncclBfloat16 = 9,
    ncclFloat8e4m3 = 10,
    ncclFloat8e5m2 = 11,
    ncclNumTypes = 12
} ncclDataType_t;

/* Reductions; ncclRedOpCreatePreMulSum makes more, with numbers from ncclNumOps on. */
typedef enum { ncclNumOps_dummy = 5 } ncclRedOp_dummy_t;
typedef enum {
    ncclSum = 0,
    ncclProd = 1,
    ncclMax = 2,
    ncclMin = 3,
    ncclAvg = 4,
    ncclNumOps = 5,
    ncclMaxRedOp = 0x7fffffff >> (32 - 8 * sizeof(ncclRedOp_dummy_t))
} ncclRedOp_t;

/* Where a factor lies: in memory that each call reads, or in memory that is read at once. */
typedef enum { ncclScalarDevice = 0, ncclScalarHostImmediate = 1 } ncclScalarResidence_t;

/* Bytes of GPU memory: here always 0. */
typedef enum {
    ncclStatGpuMemSuspend = 0,
    ncclStatGpuMemSuspended = 1,
    ncclStatGpuMemPersist = 2,
    ncclStatGpuMemTotal = 3
} ncclCommMemStat_t;

typedef struct {
    int opCnt;
    int peer;
    int sigIdx;
    int ctx;
} ncclWaitSignalDesc_t;

typedef struct ncclParamHandle *ncclParamHandle_t;

/*
 * Each function is there twice, as nccl... and as pnccl..., so that a profiler can put its own in place
 * of the first and call the second.
 */

/* The library, and what went wrong. */

/* NCCL's version whose interface this is, as NCCL_VERSION_CODE has it. */
ncclResult_t ncclGetVersion(int *version);
ncclResult_t pncclGetVersion(int *version);

/* The words for a result code. */
const char *ncclGetErrorString(ncclResult_t result);
const char *pncclGetErrorString(ncclResult_t result);

/*
 * Why the last call was refused, of this thread or of comm, whichever was later; comm may be NULL.
 * The text stays until this thread asks again.
 */
const char *ncclGetLastError(ncclComm_t comm);
const char *pncclGetLastError(ncclComm_t comm);

/* Does nothing. */
void ncclResetDebugInit(CROSSTIE_NO_ARGUMENTS);
void pncclResetDebugInit(CROSSTIE_NO_ARGUMENTS);

/* Memory: pages of the host, all zero. */

ncclResult_t ncclMemAlloc(void **ptr, size_t size);
ncclResult_t pncclMemAlloc(void **ptr, size_t size);

ncclResult_t ncclMemFree(void *ptr);
ncclResult_t pncclMemFree(void *ptr);

/* How communicators begin. All ranks call; each returns when all are connected. */

/*
 * An id, and a place to meet in this process, which must live until all ranks that got the id have
 * connected. With NCCL_COMM_ID=host:port in the environment, the id names that address, where rank 0
 * opens the meeting: for one communicator after the other, also after some did not come or were started again.
 */
ncclResult_t ncclGetUniqueId(ncclUniqueId *uniqueId);
ncclResult_t pncclGetUniqueId(ncclUniqueId *uniqueId);

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank);
ncclResult_t pncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank);

ncclResult_t ncclCommInitRankConfig(
    ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank, ncclConfig_t *config);
ncclResult_t pncclCommInitRankConfig(
    ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank, ncclConfig_t *config);

/* The ranks meet by the first id. */
ncclResult_t ncclCommInitRankScalable(
    ncclComm_t *newcomm, int nranks, int myrank, int nId, ncclUniqueId *commIds, ncclConfig_t
    *config);
ncclResult_t pncclCommInitRankScalable(
    ncclComm_t *newcomm, int nranks, int myrank, int nId, ncclUniqueId *commIds, ncclConfig_t
    *config);

/* ndev ranks of this process, for a thread that groups their calls; devlist may be NULL. */
ncclResult_t ncclCommInitAll(ncclComm_t *comm, int ndev, const int *devlist);
ncclResult_t pncclCommInitAll(ncclComm_t *comm, int ndev, const int *devlist);

/*
 * A communicator for the ranks of each color, in the order of keys, then ranks. NCCL_SPLIT_NOCOLOR
 * gives NULL. It outlives comm. A NULL config is comm's.
 */
ncclResult_t ncclCommSplit(
    ncclComm_t comm, int color, int key, ncclComm_t *newcomm, ncclConfig_t *config);
ncclResult_t pncclCommSplit(
    ncclComm_t comm, int color, int key, ncclComm_t *newcomm, ncclConfig_t *config);

/* A communicator without some ranks, which do not call; also after a failure. */
ncclResult_t ncclCommShrink(
    ncclComm_t comm, int *excludeRanksList, int excludeRanksCount, ncclComm_t *newcomm,
    ncclConfig_t *config, int shrinkFlags);
ncclResult_t pncclCommShrink(
    ncclComm_t comm, int *excludeRanksList, int excludeRanksCount, ncclComm_t *newcomm,
    ncclConfig_t *config, int shrinkFlags);

/* Not yet. */
ncclResult_t ncclCommGetUniqueId(ncclComm_t comm, ncclUniqueId *uniqueId);
ncclResult_t pncclCommGetUniqueId(ncclComm_t comm, ncclUniqueId *uniqueId);

/* Not yet. */
ncclResult_t ncclCommGrow(
    ncclComm_t comm, int nRanks, const ncclUniqueId *uniqueId, int rank, ncclComm_t *newcomm,
    ncclConfig_t *config);
ncclResult_t pncclCommGrow(
    ncclComm_t comm, int nRanks, const ncclUniqueId *uniqueId, int rank, ncclComm_t *newcomm,
    ncclConfig_t *config);

/* How they end. NULL is no mistake. */

/* Leaves in order; afterwards only the functions that tell of it, destroy and abort take it. */
ncclResult_t ncclCommFinalize(ncclComm_t comm);
ncclResult_t pncclCommFinalize(ncclComm_t comm);

/* Leaves in order, if it has not, and frees it. */
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t pncclCommDestroy(ncclComm_t comm);

/*
 * Ends calls that are under way, from any thread, on all ranks, and connecting; frees it. Where nothing is under way
 * it harms no rank that is slower.
 */
ncclResult_t ncclCommAbort(ncclComm_t comm);
ncclResult_t pncclCommAbort(ncclComm_t comm);

/*
 * Ends calls that are under way, here and, other than with NCCL, on all ranks: what one rank has stopped no other can
 * complete, and would wait for. Refuses those to come, ncclCommSplit too, which is a call of all ranks on this communicator.
 * ncclCommGetAsyncError is ncclSuccess then where it was revoked; ncclCommShrink and ncclCommDestroy take it still.
 */
ncclResult_t ncclCommRevoke(ncclComm_t comm, int revokeFlags);
ncclResult_t pncclCommRevoke(ncclComm_t comm, int revokeFlags);

/* What they tell. */

/* ncclInProgress while something is not complete; else what failed, also between calls. */
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *asyncError);
ncclResult_t pncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *asyncError);

ncclResult_t ncclCommCount(const ncclComm_t comm, int *count);
ncclResult_t pncclCommCount(const ncclComm_t comm, int *count);

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank);
ncclResult_t pncclCommUserRank(const ncclComm_t comm, int *rank);

/* As devlist said; 0 elsewhere. */
ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int *device);
ncclResult_t pncclCommCuDevice(const ncclComm_t comm, int *device);

ncclResult_t ncclCommMemStats(ncclComm_t comm, ncclCommMemStat_t stat, uint64_t *value);
ncclResult_t pncclCommMemStats(ncclComm_t comm, ncclCommMemStat_t stat, uint64_t *value);

/* Not yet. */
ncclResult_t ncclCommSuspend(ncclComm_t comm, int flags);
ncclResult_t pncclCommSuspend(ncclComm_t comm, int flags);

/* Not yet. */
ncclResult_t ncclCommResume(ncclComm_t comm);
ncclResult_t pncclCommResume(ncclComm_t comm);

/* Memory that communicators are told of. Calls take any memory, told or not. */

/*
 * Registrations and windows are remembered, and make no call faster: all calls take any host memory as it is, and the
 * network reads and writes buffers of the library's own.
 */
ncclResult_t ncclCommRegister(const ncclComm_t comm, void *buff, size_t size, void **handle);
ncclResult_t pncclCommRegister(const ncclComm_t comm, void *buff, size_t size, void **handle);

ncclResult_t ncclCommDeregister(const ncclComm_t comm, void *handle);
ncclResult_t pncclCommDeregister(const ncclComm_t comm, void *handle);

ncclResult_t ncclCommWindowRegister(
    ncclComm_t comm, void *buff, size_t size, ncclWindow_t *win, int winFlags);
ncclResult_t pncclCommWindowRegister(
    ncclComm_t comm, void *buff, size_t size, ncclWindow_t *win, int winFlags);

ncclResult_t ncclCommWindowDeregister(ncclComm_t comm, ncclWindow_t win);
ncclResult_t pncclCommWindowDeregister(ncclComm_t comm, ncclWindow_t win);

ncclResult_t ncclWinGetUserPtr(ncclComm_t comm, ncclWindow_t win, void **outUserPtr);
ncclResult_t pncclWinGetUserPtr(ncclComm_t comm, ncclWindow_t win, void **outUserPtr);

/*
 * Reductions with a factor: op multiplies this rank's elements by *scalar, then sums. For one
 * communicator, and elements of one type. With ncclScalarDevice *scalar is read as a call runs, also in a group.
 */

ncclResult_t ncclRedOpCreatePreMulSum(
    ncclRedOp_t *op, void *scalar, ncclDataType_t datatype, ncclScalarResidence_t residence,
    ncclComm_t comm);
ncclResult_t pncclRedOpCreatePreMulSum(
    ncclRedOp_t *op, void *scalar, ncclDataType_t datatype, ncclScalarResidence_t residence,
    ncclComm_t comm);

ncclResult_t ncclRedOpDestroy(ncclRedOp_t op, ncclComm_t comm);
ncclResult_t pncclRedOpDestroy(ncclRedOp_t op, ncclComm_t comm);

/*
 * Collectives. All ranks make the same calls in the same order. Counts are in elements; of buffers
 * with a part for each rank, in elements of one part. Where both buffers are given and are as
 * large, the same pointer twice is in place; where one has a part for each rank, in place is where
 * the other is this rank's part of it.
 */

ncclResult_t ncclAllReduce(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, ncclRedOp_t
    op, ncclComm_t comm, cudaStream_t stream);
ncclResult_t pncclAllReduce(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, ncclRedOp_t
    op, ncclComm_t comm, cudaStream_t stream);

/* Only the root's recvbuff is looked at. */
ncclResult_t ncclReduce(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, ncclRedOp_t
    op, int root, ncclComm_t comm, cudaStream_t stream);
ncclResult_t pncclReduce(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, ncclRedOp_t
    op, int root, ncclComm_t comm, cudaStream_t stream);

ncclResult_t ncclReduceScatter(
    const void *sendbuff, void *recvbuff, size_t recvcount, ncclDataType_t datatype,
    ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
ncclResult_t pncclReduceScatter(
    const void *sendbuff, void *recvbuff, size_t recvcount, ncclDataType_t datatype,
    ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);

/* Only the root's sendbuff is looked at. */
ncclResult_t ncclBroadcast(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, int root,
    ncclComm_t comm, cudaStream_t stream);
ncclResult_t pncclBroadcast(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, int root,
    ncclComm_t comm, cudaStream_t stream);

ncclResult_t ncclBcast(
    void *buff, size_t count, ncclDataType_t datatype, int root, ncclComm_t comm, cudaStream_t
    stream);
ncclResult_t pncclBcast(
    void *buff, size_t count, ncclDataType_t datatype, int root, ncclComm_t comm, cudaStream_t
    stream);

ncclResult_t ncclAllGather(
    const void *sendbuff, void *recvbuff, size_t sendcount, ncclDataType_t datatype,
    ncclComm_t comm, cudaStream_t stream);
ncclResult_t pncclAllGather(
    const void *sendbuff, void *recvbuff, size_t sendcount, ncclDataType_t datatype,
    ncclComm_t comm, cudaStream_t stream);

ncclResult_t ncclAlltoAll(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, ncclComm_t
    comm, cudaStream_t stream);
ncclResult_t pncclAlltoAll(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, ncclComm_t
    comm, cudaStream_t stream);

/* Only the root's recvbuff is looked at. */
ncclResult_t ncclGather(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, int root,
    ncclComm_t comm, cudaStream_t stream);
ncclResult_t pncclGather(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, int root,
    ncclComm_t comm, cudaStream_t stream);

/* Only the root's sendbuff is looked at. */
ncclResult_t ncclScatter(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, int root,
    ncclComm_t comm, cudaStream_t stream);
ncclResult_t pncclScatter(
    const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, int root,
    ncclComm_t comm, cudaStream_t stream);

/* Messages. Those from one rank to another arrive in order; ranks that exchange some group them. */

ncclResult_t ncclSend(
    const void *sendbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm,
    cudaStream_t stream);
ncclResult_t pncclSend(
    const void *sendbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm,
    cudaStream_t stream);

ncclResult_t ncclRecv(
    void *recvbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm,
    cudaStream_t stream);
ncclResult_t pncclRecv(
    void *recvbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm,
    cudaStream_t stream);

/* Not yet. */
ncclResult_t ncclPutSignal(
    const void *localbuff, size_t count, ncclDataType_t datatype, int peer, ncclWindow_t
    peerWin, size_t peerWinOffset, int sigIdx, int ctx, unsigned int flags, ncclComm_t comm,
    cudaStream_t stream);
ncclResult_t pncclPutSignal(
    const void *localbuff, size_t count, ncclDataType_t datatype, int peer, ncclWindow_t
    peerWin, size_t peerWinOffset, int sigIdx, int ctx, unsigned int flags, ncclComm_t comm,
    cudaStream_t stream);

/* Not yet. */
ncclResult_t ncclSignal(
    int peer, int sigIdx, int ctx, unsigned int flags, ncclComm_t comm, cudaStream_t stream);
ncclResult_t pncclSignal(
    int peer, int sigIdx, int ctx, unsigned int flags, ncclComm_t comm, cudaStream_t stream);

/* Not yet. */
ncclResult_t ncclWaitSignal(
    int nDesc, ncclWaitSignalDesc_t *signalDescs, ncclComm_t comm, cudaStream_t stream);
ncclResult_t pncclWaitSignal(
    int nDesc, ncclWaitSignalDesc_t *signalDescs, ncclComm_t comm, cudaStream_t stream);

/*
 * Groups: of this thread; they nest. The outermost end carries all calls out: what makes
 * communicators first, then the collectives of each in their order, then its messages all at once.
 */

ncclResult_t ncclGroupStart(CROSSTIE_NO_ARGUMENTS);
ncclResult_t pncclGroupStart(CROSSTIE_NO_ARGUMENTS);

ncclResult_t ncclGroupEnd(CROSSTIE_NO_ARGUMENTS);
ncclResult_t pncclGroupEnd(CROSSTIE_NO_ARGUMENTS);

/* Ends the group, and carries nothing out. To tell a time: not yet. */
ncclResult_t ncclGroupSimulateEnd(ncclSimInfo_t *simInfo);
ncclResult_t pncclGroupSimulateEnd(ncclSimInfo_t *simInfo);

/* NCCL's parameters: not yet. */

ncclResult_t ncclParamBind(ncclParamHandle_t *out, const char *key);
ncclResult_t pncclParamBind(ncclParamHandle_t *out, const char *key);

ncclResult_t ncclParamGetI8(ncclParamHandle_t h, int8_t *out);
ncclResult_t pncclParamGetI8(ncclParamHandle_t h, int8_t *out);

ncclResult_t ncclParamGetI16(ncclParamHandle_t h, int16_t *out);
ncclResult_t pncclParamGetI16(ncclParamHandle_t h, int16_t *out);

ncclResult_t ncclParamGetI32(ncclParamHandle_t h, int32_t *out);
ncclResult_t pncclParamGetI32(ncclParamHandle_t h, int32_t *out);

ncclResult_t ncclParamGetI64(ncclParamHandle_t h, int64_t *out);
ncclResult_t pncclParamGetI64(ncclParamHandle_t h, int64_t *out);

ncclResult_t ncclParamGetU8(ncclParamHandle_t h, uint8_t *out);
ncclResult_t pncclParamGetU8(ncclParamHandle_t h, uint8_t *out);

ncclResult_t ncclParamGetU16(ncclParamHandle_t h, uint16_t *out);
ncclResult_t pncclParamGetU16(ncclParamHandle_t h, uint16_t *out);

ncclResult_t ncclParamGetU32(ncclParamHandle_t h, uint32_t *out);
ncclResult_t pncclParamGetU32(ncclParamHandle_t h, uint32_t *out);

ncclResult_t ncclParamGetU64(ncclParamHandle_t h, uint64_t *out);
ncclResult_t pncclParamGetU64(ncclParamHandle_t h, uint64_t *out);

ncclResult_t ncclParamGetStr(ncclParamHandle_t h, const char **out);
ncclResult_t pncclParamGetStr(ncclParamHandle_t h, const char **out);

ncclResult_t ncclParamGet(ncclParamHandle_t h, void *out, int maxLen, int *len);
ncclResult_t pncclParamGet(ncclParamHandle_t h, void *out, int maxLen, int *len);

ncclResult_t ncclParamGetParameter(const char *key, const char **value, int *valueLen);
ncclResult_t pncclParamGetParameter(const char *key, const char **value, int *valueLen);

ncclResult_t ncclParamGetAllParameterKeys(const char ***table, int *tableLen);
ncclResult_t pncclParamGetAllParameterKeys(const char ***table, int *tableLen);

void ncclParamDumpAll(CROSSTIE_NO_ARGUMENTS);
void pncclParamDumpAll(CROSSTIE_NO_ARGUMENTS);

#undef CROSSTIE_NO_ARGUMENTS

#if defined(__cplusplus)
}
#endif

#endif
