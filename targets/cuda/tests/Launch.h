//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Kernels called by tests: launches under the emulator, and their numbers.
//
#pragma once

#include "targets/cuda/tests/Random.h"
#include "targets/cuda/tests/emulator/Emulator.h"

namespace mlc::cuda {

template <typename Args>
void launch(void (*kernel)(const Args &), EmulatedDim grid, unsigned threads, Args args, unsigned sharedBytes = 0) {
  emulator::launch(grid, threads, [&] { kernel(args); }, sharedBytes);
}

inline std::vector<float> seeded(size_t count, unsigned seed) {
  Random random(seed);
  return normals(random, count);
}

inline unsigned blocks(int64_t items, int64_t each) { return unsigned((items + each - 1) / each); }

/// How a product is cut into tiles: of the wide form or the narrow one, slices of a block, stages; by bulk copies or
/// not.
struct Tiling {
  bool wide, bulk;
  int slicesEach, stages;
};
constexpr Tiling kTilings[] = {
    {false, true, 8, 2}, {true, false, 8, 2}, {false, true, 8, 5}, {true, true, 1, 3}, {false, false, 3, 2}};

} // namespace mlc::cuda
