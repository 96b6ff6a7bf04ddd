//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Numbers for the kernels' tests.
//
#pragma once

#include <random>
#include <vector>

namespace mlc::cuda {

using Random = std::mt19937;

inline std::vector<float> normals(Random &random, size_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(random);
  return values;
}

} // namespace mlc::cuda
