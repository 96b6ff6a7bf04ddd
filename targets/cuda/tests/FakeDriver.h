//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A libcuda.so.1 for tests without a GPU: device memory is the host's, kernels run under the emulator, every call is
// recorded and checked (sizes, extents of copies, live handles, what was captured), and any call can be made to fail.
//
#pragma once

#include "targets/cuda/driver/Driver.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mlc::cuda::fake {

struct Settings {
  int devices = 1, capability = 90, version = 13000;
  uint64_t memory = uint64_t(1) << 30; // Bytes of the device.
  std::string failing;                 // The exported name of a call that fails,
  unsigned failingAfter = 0;           // behind so many that do not,
  CuResult failure = CUDA_ERROR_UNKNOWN;
  bool run = true; // Kernels do their work.
};

/// A call by its exported name; of a launch "cuLaunchKernelEx KERNEL x,y,z threads".
using Record = std::vector<std::string>;

// Exported by the library, which a test links.
__attribute__((visibility("default"))) Settings &settings();
__attribute__((visibility("default"))) Record &record();
/// What a program did that the driver would have refused, or that leaks: one line each.
__attribute__((visibility("default"))) std::vector<std::string> &mistakes();
/// Settings, record and mistakes as they were at first; device memory that is still there stays.
__attribute__((visibility("default"))) void reset();
/// Bytes of device and of pinned memory, contexts, streams, modules and graphs that are not freed.
__attribute__((visibility("default"))) uint64_t liveBytes();
__attribute__((visibility("default"))) unsigned liveHandles();

} // namespace mlc::cuda::fake
