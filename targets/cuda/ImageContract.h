//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Images travel in artifacts, their launches are the runtime's: both must be of one mind.
//
#pragma once

#include "targets/cuda/Functions.h"
#include "targets/cuda/device/Args.h"

namespace mlc::cuda {

/// Raised when a grid, a block, or what an argument means changes, which the names and sizes below do not show.
constexpr uint32_t kLaunchForm = 1;

/// Of an image whose kernels this source launches (FNV-1a over names and sizes of arguments).
constexpr uint32_t imageContract() {
  uint32_t hash = 2166136261u;
  const auto add = [&](std::string_view name, size_t argument) {
    for (char c : name)
      hash = (hash ^ uint8_t(c)) * 16777619u;
    hash = (hash ^ uint32_t(argument)) * 16777619u;
  };
  add("", kLaunchForm);
#define MLC_CUDA_ADD(NAME, ARGS) add(#NAME, sizeof(ARGS));
  MLC_CUDA_FUNCTIONS(MLC_CUDA_ADD)
#undef MLC_CUDA_ADD
  return hash;
}
constexpr uint32_t kImageContract = imageContract();

} // namespace mlc::cuda
