//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Which kernel makes a forward pass, and with what, from a problem that has been checked.
//
#pragma once

#include "targets/cuda/attention/Check.h"
#include "targets/cuda/attention/Device.h"
#include "targets/cuda/attention/forward/ForwardArgs.h"

namespace mlc::attention {

struct ForwardPlan {
  ForwardArgs args;
  char kernel[64];
  int64_t blocks;
  int threads, sharedBytes;
};

/// `counter`: two words on the device that are zero between launches and belong to one stream, or null: then a block
/// of threads makes one tile. False, with an error, where the device cannot read a tensor.
bool planForward(const mlc_attention_problem &problem, const Device &device, uint32_t *counter, ForwardPlan &plan,
                 const ErrorText &error);

} // namespace mlc::attention
