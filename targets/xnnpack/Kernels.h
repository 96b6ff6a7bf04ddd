//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Kernels of XNNPACK: what they accept is checked here, in every build; libmlc-xnnpack.so runs them.
//
#pragma once

#include "runtime/exec/Kernel.h"

namespace mlc::xnnpack {

constexpr unsigned kKernels = 12;
extern const KernelDef kernels[kKernels];

} // namespace mlc::xnnpack
