//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Launches by the CUDA driver, which dlopen() opens at the first call. An image is loaded once, for all contexts
// (cuLibraryLoadData), and its kernels are found once; what is found is kept for the life of the process, behind one
// lock that a launch holds while it looks a kernel up.
//
#include "targets/cuda/attention/Launch.h"
#include "targets/cuda/Images.h"

#include <cstring>
#include <dlfcn.h>
#include <mutex>

namespace mlc::cuda {
std::vector<Image> mlc_attention_images();
}

namespace mlc::attention {

namespace {

// Names and values of NVIDIA's cuda.h, whose ABI is stable.
enum : int {
  kProcessors = 16,      // CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
  kMajor = 75,           // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
  kMinor = 76,           // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
  kMostShared = 97,      // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
  kKernelMostShared = 8, // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
  kRelaxedCapture = 2,   // CU_STREAM_CAPTURE_MODE_RELAXED
};

#define MLC_ATTENTION_CALLS(X)                                                                                         \
  X(init, cuInit, (unsigned))                                                                                          \
  X(errorName, cuGetErrorName, (int, const char **))                                                                   \
  X(contextDevice, cuCtxGetDevice, (int *))                                                                            \
  X(deviceAttribute, cuDeviceGetAttribute, (int *, int, int))                                                          \
  X(libraryLoad, cuLibraryLoadData, (void **, const void *, void *, void **, unsigned, void *, void **, unsigned))     \
  X(libraryKernel, cuLibraryGetKernel, (void **, void *, const char *))                                                \
  X(kernelSet, cuKernelSetAttribute, (int, int, void *, int))                                                          \
  X(encodeTensor, cuTensorMapEncodeTiled,                                                                              \
    (void *, int, uint32_t, void *, const uint64_t *, const uint64_t *, const uint32_t *, const uint32_t *, int, int,  \
     int, int))                                                                                                        \
  X(exchangeCapture, cuThreadExchangeStreamCaptureMode, (int *))                                                       \
  X(launch, cuLaunchKernel,                                                                                            \
    (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **))

constexpr int kMostDevices = 64, kMostKernels = 128;

struct Kernel {
  char name[64];
  const char *arch;
  void *handle;
  uint64_t devices; // on which its shared memory was set
};

struct State {
  std::mutex lock;
  bool opened = false;
#define MLC_ATTENTION_POINTER(NAME, SYMBOL, PARAMETERS) int(*NAME) PARAMETERS = nullptr;
  MLC_ATTENTION_CALLS(MLC_ATTENTION_POINTER)
#undef MLC_ATTENTION_POINTER
  struct Library {
    const void *image;
    void *handle;
  } libraries[16] = {};
  Kernel kernels[kMostKernels] = {};
};

State &state() {
  static State state;
  return state;
}

bool open(State &driver, const ErrorText &error) {
  if (driver.opened)
    return true;
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!library)
    return !error("no NVIDIA driver: %s", dlerror());
#define MLC_ATTENTION_SYMBOL(NAME, SYMBOL, PARAMETERS)                                                                 \
  if (driver.NAME = reinterpret_cast<int(*) PARAMETERS>(dlsym(library, #SYMBOL)); !driver.NAME)                        \
    return !error("the NVIDIA driver is too old: it lacks %s", #SYMBOL);
  MLC_ATTENTION_CALLS(MLC_ATTENTION_SYMBOL)
#undef MLC_ATTENTION_SYMBOL
  if (driver.init(0) != 0)
    return !error("the NVIDIA driver does not start; see nvidia-smi");
  driver.opened = true;
  return true;
}

bool check(const State &driver, int result, const char *what, const ErrorText &error) {
  if (result == 0)
    return true;
  const char *name = nullptr;
  if (driver.errorName(result, &name) != 0 || !name)
    name = "unknown error";
  return !error("%s: %s (%d)", what, name, result);
}

/// The architecture whose image the device runs: its own machine code, or PTX for later devices.
const char *archOf(int major, int minor) {
  if (major == 9 && minor == 0)
    return "sm_90a";
  return major == 8 ? "sm_80" : "compute_80";
}

bool find(State &driver, const char *module, const char *name, const char *arch, Kernel *&found,
          const ErrorText &error) {
  Kernel *free = nullptr;
  for (Kernel &kernel : driver.kernels) {
    if (!kernel.handle) {
      free = &kernel;
      break;
    }
    if (kernel.arch == arch && !std::strcmp(kernel.name, name)) {
      found = &kernel;
      return true;
    }
  }
  if (!free || std::strlen(name) >= sizeof(free->name))
    return !error("too many kernels");
  for (const cuda::Image &image : cuda::mlc_attention_images()) {
    if (std::strcmp(image.arch, arch) || std::strcmp(image.module, module))
      continue;
    State::Library *library = nullptr;
    for (State::Library &entry : driver.libraries)
      if (!entry.handle || entry.image == image.bytes.data()) {
        library = &entry;
        break;
      }
    if (!library)
      return !error("too many images");
    if (!library->handle) {
      if (!check(driver,
                 driver.libraryLoad(&library->handle, image.bytes.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
                 "loading the kernels", error)) {
        library->handle = nullptr;
        return false;
      }
      library->image = image.bytes.data();
    }
    void *handle = nullptr;
    if (driver.libraryKernel(&handle, library->handle, name) == 0) {
      std::strcpy(free->name, name);
      free->arch = arch;
      free->handle = handle;
      found = free;
      return true;
    }
  }
  return !error("no kernel %s for %s was compiled in", name, arch);
}

/// The current context's device, and what of it is asked.
bool attributes(const State &driver, int &device, int &major, int &minor, int &shared, const ErrorText &error) {
  if (!check(driver, driver.contextDevice(&device), "no current CUDA context", error) ||
      !check(driver, driver.deviceAttribute(&major, kMajor, device), "the device's attributes", error) ||
      !check(driver, driver.deviceAttribute(&minor, kMinor, device), "the device's attributes", error) ||
      !check(driver, driver.deviceAttribute(&shared, kMostShared, device), "the device's attributes", error))
    return false;
  if (major < 8)
    return !error("the device has compute capability %d.%d; the kernels need 8.0", major, minor);
  return true;
}

/// The kernel for the current device, allowed the shared memory it needs.
bool prepare(State &driver, const Launch &launch, Kernel *&kernel, const ErrorText &error) {
  int device = 0, major = 0, minor = 0, shared = 0;
  if (!attributes(driver, device, major, minor, shared, error))
    return false;
  if (launch.sharedBytes > shared)
    return !error("%s needs %d bytes of shared memory a block; the device has %d", launch.kernel, launch.sharedBytes,
                  shared);
  if (device >= kMostDevices)
    return !error("device %d; %d are supported", device, kMostDevices);
  if (!find(driver, launch.module, launch.kernel, archOf(major, minor), kernel, error))
    return false;
  if (kernel->devices >> device & 1)
    return true;
  if (!check(driver, driver.kernelSet(kKernelMostShared, launch.sharedBytes, kernel->handle, device),
             "the kernel's shared memory", error))
    return false;
  kernel->devices |= uint64_t(1) << device;
  return true;
}

} // namespace

bool launch(const Launch &launch, const ErrorText &error) {
  if (launch.blocks == 0 || launch.blocksY == 0 || launch.blocksZ == 0)
    return true;
  State &driver = state();
  Kernel *kernel = nullptr;
  {
    std::lock_guard<std::mutex> guard(driver.lock);
    if (!open(driver, error))
      return false;
    // Loading allocates, which a stream that captures a graph forbids unless the thread says otherwise.
    int mode = kRelaxedCapture;
    driver.exchangeCapture(&mode);
    const bool good = prepare(driver, launch, kernel, error);
    driver.exchangeCapture(&mode);
    if (!good)
      return false;
  }
  void *arguments[] = {const_cast<void *>(launch.args)};
  return check(driver,
               driver.launch(kernel->handle, unsigned(launch.blocks), unsigned(launch.blocksY),
                             unsigned(launch.blocksZ), unsigned(launch.threads), 1, 1, unsigned(launch.sharedBytes),
                             launch.stream, arguments, nullptr),
               launch.kernel, error);
}

bool deviceOf(Device &device, const ErrorText &error) {
  State &driver = state();
  {
    std::lock_guard<std::mutex> guard(driver.lock);
    if (!open(driver, error))
      return false;
  }
  int number = 0, major = 0, minor = 0;
  if (!attributes(driver, number, major, minor, device.sharedBytes, error) ||
      !check(driver, driver.deviceAttribute(&device.processors, kProcessors, number), "the device's attributes", error))
    return false;
  device.hopper = major == 9 && minor == 0;
  device.encode = driver.encodeTensor;
  return true;
}

} // namespace mlc::attention
