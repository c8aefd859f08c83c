// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdio>

// A driver's library for a machine without one: two GPUs, of which the second does not tell its utilisation. Each read
// finds more memory in use, and the library counts who has it open.

namespace {

int open_count = 0;
unsigned reads = 0;
int devices[2] = {0, 1};

int index_of(void* device) { return *static_cast<int*>(device); }

}  // namespace

extern "C" {

struct fake_utilization {
  unsigned gpu, memory;
};
struct fake_memory {
  unsigned long long total, free, used;
};

int nvmlInit_v2() { return ++open_count > 0 ? 0 : 1; }
int nvmlShutdown() { return --open_count >= 0 ? 0 : 1; }
int fake_nvml_open_count() { return open_count; }

int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  *device = &devices[index];
  return 0;
}
int nvmlDeviceGetName(void* device, char* name, unsigned length) {
  std::snprintf(name, length, "Fake %c", 'A' + index_of(device));
  return 0;
}
int nvmlDeviceGetUtilizationRates(void* device, fake_utilization* rates) {
  if (index_of(device) == 1) return 3;  // not supported
  rates->gpu = 40 + 20 * reads;
  rates->memory = 1;
  return 0;
}
int nvmlDeviceGetMemoryInfo(void* device, fake_memory* memory) {
  if (index_of(device) == 0) ++reads;
  memory->total = 1000;
  memory->used = index_of(device) == 0 ? 900 - 100 * reads : 100 * reads;
  memory->free = memory->total - memory->used;
  return 0;
}
}
