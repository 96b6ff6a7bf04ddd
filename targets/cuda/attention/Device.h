//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What plans ask of the device and of its driver.
//
#pragma once

#include <cstdint>

namespace mlc::attention {

/// cuTensorMapEncodeTiled of the driver, with its enumerations as numbers.
using EncodeTensor = int (*)(void *map, int dataType, uint32_t rank, void *address, const uint64_t *sizes,
                             const uint64_t *strides, const uint32_t *box, const uint32_t *elementStrides,
                             int interleave, int swizzle, int promotion, int fill);

struct Device {
  int processors;
  int sharedBytes; // most that a block may have
  bool hopper;     // sm_90: its kernels are loaded
  EncodeTensor encode;
};

} // namespace mlc::attention
