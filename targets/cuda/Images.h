//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The kernels that lie beside the compiler, as cmake/MlcCuda.cmake embedded them: machine code (cubin) for a device
// generation, or PTX, which the driver compiles. Without nvcc there are none.
//
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mlc::cuda {

struct Image {
  const char *module; // The source's name.
  const char *arch;   // sm_80, sm_90a, compute_80.
  std::span<const uint8_t> bytes;
};

/// The kernels of language models (targets/cuda/CMakeLists.txt).
std::vector<Image> mlc_cuda_images();

} // namespace mlc::cuda
