//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How the C interface starts a kernel: by the driver (Launch.cpp), or by the emulator (tests/EmulatedLaunch.cpp).
//
#pragma once

#include "targets/cuda/attention/Check.h"
#include "targets/cuda/attention/Device.h"

namespace mlc::attention {

struct Launch {
  const char *kernel; // its C name
  int64_t blocks;
  int threads, sharedBytes;
  const void *args; // one struct by value
  size_t argBytes;
  void *stream;
  const char *module;           // the source that has the kernel
  int blocksY = 1, blocksZ = 1; // `blocks` are along x
};

/// False, with an error, if not; no blocks: nothing is done.
bool launch(const Launch &launch, const ErrorText &error);

/// The device of the current context. False, with an error, where there is none or it is too old.
bool deviceOf(Device &device, const ErrorText &error);

} // namespace mlc::attention
