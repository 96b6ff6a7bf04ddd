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
#include <functional>
#include <string>
#include <vector>

namespace mlc::cuda::fake {

struct Settings {
  int devices = 1; // At first MLC_FAKE_GPUS, if the environment has it.
  int capability = 90, version = 13000;
  uint64_t memory = uint64_t(1) << 30; // Bytes of a device.
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
// For libraries beside the driver, all but the first two within locked() or what is enqueued.
/// Records a call and gives the failure that is injected, or success.
__attribute__((visibility("default"))) CuResult call(const char *name, const std::string &more);
/// Does it while no other thread is in a call.
__attribute__((visibility("default"))) void locked(const std::function<void()> &work);
/// Does `work` now, or when the graph that is being captured runs.
__attribute__((visibility("default"))) void enqueue(CuStream stream, std::function<void()> work);
__attribute__((visibility("default"))) void mistake(std::string text);
/// Lets others in until `ready`, which they bring about; false when they do not within 20 s.
__attribute__((visibility("default"))) bool await(const std::function<bool()> &ready);
/// Makes those who wait look again; `broken`: whoever waits for a stream from now on gets an error.
__attribute__((visibility("default"))) void changed(bool broken);
/// Bytes of device and of pinned memory, contexts, streams, modules and graphs that are not freed.
__attribute__((visibility("default"))) uint64_t liveBytes();
__attribute__((visibility("default"))) unsigned liveHandles();

} // namespace mlc::cuda::fake
