/* A driver's library (libnvidia-ml.so.1) that is none: it answers the calls that detection makes as on a DGX A100,
 * with the addresses of trees/dgx-a100.tree. Layouts and codes are those of NVIDIA's nvml.h.
 *
 *   -DHANGS               it never answers
 *   -DDRIVER_NOT_LOADED   there is a library, and no driver
 *   -DGPU_LOST=N          GPU N has fallen off its bus: by its number it can still be found
 *   -DNO_HANDLE=N         GPU N cannot even be found
 *   -DNO_PERMISSION       GPUs cannot be counted
 *   -DLINK_DOWN           link 5 of GPU 2 is down
 *   -DNOT_SUPPORTED       GPU 5 tells no PCIe link and no name, link 0 of GPU 6 no far end
 *   -DC2C                 each GPU has ten chip-to-chip links of 40 GB/s
 *   -DWRONG_ADDRESS       GPU 1 has an address that is none
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NO_SUPPORT = 3, PERMISSION = 4, DRIVER = 9, LOST = 15, UNKNOWN = 999 };

typedef struct { int index; } *Device;
typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} PciInfo;
typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    unsigned valueType;
    int nvmlReturn;
    union { double d; unsigned ui; unsigned long long ull; } value;
} FieldValue;

#define GPUS 8
#define LINKS 12
static const unsigned BUSES[GPUS] = {0x07, 0x0f, 0x47, 0x4e, 0x87, 0x90, 0xb7, 0xbd};
static struct { int index; } devices[GPUS];

#ifdef GPU_LOST
#define IS_LOST(device) ((device)->index == GPU_LOST)
#else
#define IS_LOST(device) 0
#endif
#ifdef NOT_SUPPORTED
#define IS_SHY(device, gpu) ((device)->index == (gpu))
#else
#define IS_SHY(device, gpu) 0
#endif

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
#ifdef HANGS
    for (;;) pause();
#endif
#ifdef DRIVER_NOT_LOADED
    return DRIVER;
#endif
    for (int i = 0; i < GPUS; i++) devices[i].index = i;
    return SUCCESS;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int result) { (void)result; return "told by code"; }

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    snprintf(version, length, "570.86.16");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
#ifdef NO_PERMISSION
    return PERMISSION;
#endif
    *count = GPUS;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    if (index >= GPUS) return INVALID_ARGUMENT;
#ifdef NO_HANDLE
    if (index == NO_HANDLE) return LOST;
#endif
    *device = (Device)&devices[index];
    return SUCCESS;
}

static void address(PciInfo *pci, unsigned bus, unsigned ids) {
    memset(pci, 0, sizeof *pci);
    pci->bus = bus;
    pci->pciDeviceId = ids;
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "0000:%02X:00.0", bus);
    snprintf(pci->busId, sizeof pci->busId, "00000000:%02X:00.0", bus);
}

int nvmlDeviceGetPciInfo_v3(Device device, PciInfo *pci) {
    if (IS_LOST(device)) return LOST;
    address(pci, BUSES[device->index], 0x20b010de);
#ifdef WRONG_ADDRESS
    if (device->index == 1) strcpy(pci->busId, "nowhere");
#endif
    return SUCCESS;
}

int nvmlDeviceGetName(Device device, char *name, unsigned length) {
    if (IS_SHY(device, 5)) return NO_SUPPORT;
    snprintf(name, length, "NVIDIA A100-SXM4-40GB");
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
    (void)device;
    *major = 8;
    *minor = 0;
    return SUCCESS;
}

static int told(Device device, unsigned *place, unsigned value) {
    if (IS_SHY(device, 5)) return NO_SUPPORT;
    *place = value;
    return SUCCESS;
}
int nvmlDeviceGetMaxPcieLinkGeneration(Device d, unsigned *v) { return told(d, v, 4); }
int nvmlDeviceGetMaxPcieLinkWidth(Device d, unsigned *v) { return told(d, v, 16); }
int nvmlDeviceGetCurrPcieLinkGeneration(Device d, unsigned *v) { return told(d, v, 1); }
int nvmlDeviceGetCurrPcieLinkWidth(Device d, unsigned *v) { return told(d, v, 16); }

int nvmlDeviceGetNvLinkState(Device device, unsigned link, unsigned *active) {
    if (link >= LINKS) return INVALID_ARGUMENT;
    *active = 1;
#ifdef LINK_DOWN
    if (device->index == 2 && link == 5) *active = 0;
#endif
    (void)device;
    return SUCCESS;
}

int nvmlDeviceGetNvLinkCapability(Device device, unsigned link, unsigned capability, unsigned *has) {
    (void)device;
    if (link >= LINKS) return INVALID_ARGUMENT;
    *has = capability == 0; /* peer to peer */
    return SUCCESS;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(Device device, unsigned link, PciInfo *pci) {
    if (link >= LINKS) return INVALID_ARGUMENT;
    if (IS_SHY(device, 6) && link == 0) return NO_SUPPORT;
    address(pci, 0xc4 + link % 6, 0x1af110de); /* six NVSwitches, two links to each */
    return SUCCESS;
}

int nvmlDeviceGetFieldValues(Device device, int count, FieldValue *values) {
    (void)device;
    for (int i = 0; i < count; i++) {
        values[i].nvmlReturn = NO_SUPPORT;
#ifdef C2C
        values[i].nvmlReturn = SUCCESS;
        values[i].valueType = 1; /* unsigned */
        values[i].value.ui = values[i].fieldId == 170 ? 10 : values[i].fieldId == 172 ? 40000 : 0;
#endif
    }
    return SUCCESS;
}
