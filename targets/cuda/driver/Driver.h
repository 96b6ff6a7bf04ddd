//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The CUDA driver, opened by dlopen: the few entry points that the runtime calls, declared here so that it builds
// without a toolkit. Names and values are those of NVIDIA's cuda.h, whose ABI is stable.
//
#pragma once

#include "runtime/core/Result.h"

namespace mlc::cuda {

enum CuResult : int {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_UNKNOWN = 999,
};
enum CuAttribute : int {
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
};
enum CuFunctionAttribute : int { CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8 };
enum CuJitOption : int { CU_JIT_ERROR_LOG_BUFFER = 5, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6 };
constexpr unsigned CU_STREAM_NON_BLOCKING = 1;
constexpr int CU_STREAM_CAPTURE_MODE_RELAXED = 2;

using CuDevice = int;
/// An address of the device.
using CuPointer = unsigned long long;
using CuContext = struct CuContextOpaque *;
using CuModule = struct CuModuleOpaque *;
using CuFunction = struct CuFunctionOpaque *;
using CuStream = struct CuStreamOpaque *;
using CuGraph = struct CuGraphOpaque *;
using CuGraphExec = struct CuGraphExecOpaque *;

/// CUlaunchAttribute of 72 bytes, of which the value has 64.
struct CuLaunchAttribute {
  int id;
  char pad[4];
  union {
    int allowed;
    char bytes[64];
  };
};
/// A kernel may start beside the one before it in the stream, and waits by itself for what that one writes.
constexpr int CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6;
/// CUlaunchConfig.
struct CuLaunch {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  CuStream stream;
  CuLaunchAttribute *attributes;
  unsigned attributeCount;
};

/// X(name here, exported name, parameters)
#define MLC_CUDA_CALLS(X)                                                                                              \
  X(init, cuInit, (unsigned))                                                                                          \
  X(driverGetVersion, cuDriverGetVersion, (int *))                                                                     \
  X(getErrorName, cuGetErrorName, (CuResult, const char **))                                                           \
  X(deviceGetCount, cuDeviceGetCount, (int *))                                                                         \
  X(deviceGet, cuDeviceGet, (CuDevice *, int))                                                                         \
  X(deviceGetName, cuDeviceGetName, (char *, int, CuDevice))                                                           \
  X(deviceGetAttribute, cuDeviceGetAttribute, (int *, CuAttribute, CuDevice))                                          \
  X(primaryCtxRetain, cuDevicePrimaryCtxRetain, (CuContext *, CuDevice))                                               \
  X(primaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (CuDevice))                                                       \
  X(ctxSetCurrent, cuCtxSetCurrent, (CuContext))                                                                       \
  X(moduleLoad, cuModuleLoadDataEx, (CuModule *, const void *, unsigned, CuJitOption *, void **))                      \
  X(moduleUnload, cuModuleUnload, (CuModule))                                                                          \
  X(moduleGetFunction, cuModuleGetFunction, (CuFunction *, CuModule, const char *))                                    \
  X(funcSetAttribute, cuFuncSetAttribute, (CuFunction, CuFunctionAttribute, int))                                      \
  X(memGetInfo, cuMemGetInfo_v2, (size_t *, size_t *))                                                                 \
  X(memAlloc, cuMemAlloc_v2, (CuPointer *, size_t))                                                                    \
  X(memFree, cuMemFree_v2, (CuPointer))                                                                                \
  X(memHostAlloc, cuMemHostAlloc, (void **, size_t, unsigned))                                                         \
  X(memFreeHost, cuMemFreeHost, (void *))                                                                              \
  X(memsetAsync, cuMemsetD8Async, (CuPointer, unsigned char, size_t, CuStream))                                        \
  X(copyToDevice, cuMemcpyHtoDAsync_v2, (CuPointer, const void *, size_t, CuStream))                                   \
  X(copyToHost, cuMemcpyDtoHAsync_v2, (void *, CuPointer, size_t, CuStream))                                           \
  X(copyOnDevice, cuMemcpyDtoDAsync_v2, (CuPointer, CuPointer, size_t, CuStream))                                      \
  X(streamCreate, cuStreamCreate, (CuStream *, unsigned))                                                              \
  X(streamDestroy, cuStreamDestroy_v2, (CuStream))                                                                     \
  X(streamSynchronize, cuStreamSynchronize, (CuStream))                                                                \
  X(streamBeginCapture, cuStreamBeginCapture_v2, (CuStream, int))                                                      \
  X(streamEndCapture, cuStreamEndCapture, (CuStream, CuGraph *))                                                       \
  X(graphInstantiate, cuGraphInstantiateWithFlags, (CuGraphExec *, CuGraph, unsigned long long))                       \
  X(graphLaunch, cuGraphLaunch, (CuGraphExec, CuStream))                                                               \
  X(graphExecDestroy, cuGraphExecDestroy, (CuGraphExec))                                                               \
  X(graphDestroy, cuGraphDestroy, (CuGraph))                                                                           \
  X(launchKernel, cuLaunchKernelEx, (const CuLaunch *, CuFunction, void **, void **))

/// The oldest driver whose interface these kernels are compiled against: CUDA 13.0.
constexpr int kDriverVersion = 13000;

/// Immutable once loaded.
class Driver {
public:
  /// Opens libcuda.so.1 and initialises it. Unsupported: no driver, one that is too old, or no device.
  static Result<Driver> load();

#define MLC_CUDA_POINTER(NAME, SYMBOL, PARAMETERS) CuResult(*NAME) PARAMETERS = nullptr;
  MLC_CUDA_CALLS(MLC_CUDA_POINTER)
#undef MLC_CUDA_POINTER

  /// Ok, or one line: "WHAT: CUDA_ERROR_...".
  Status check(CuResult result, const char *what) const;
};

} // namespace mlc::cuda
