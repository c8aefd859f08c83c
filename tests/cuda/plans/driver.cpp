// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What stands in for the driver's library libcuda.so.1 while cuDNN plans: it loads no code, but says that it has. All
// other functions of the driver are generated from the symbols of the toolkit's stub, weak, and refuse.
#include <atomic>
#include <cstring>

namespace {

std::atomic<int> cubins{0};
char something = 0;  // what handles point to

}  // namespace

extern "C" {

/// Images of machine code that were loaded until now.
int driver_loaded_cubins() { return cubins; }

int cuLibraryLoadData(void** library, const void* image, void*, void*, unsigned, void*, void*, unsigned) {
  if (std::memcmp(image, "\177ELF", 4) != 0) return 200;  // CUDA_ERROR_INVALID_IMAGE
  ++cubins;
  *library = &something;
  return 0;
}
int cuLibraryUnload(void*) { return 0; }
int cuLibraryGetKernel(void** kernel, void*, const char*) {
  *kernel = &something;
  return 0;
}
int cuKernelGetFunction(void** function, void*) {
  *function = &something;
  return 0;
}
}
