//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// targets/cuda/device/Ampere.cuh on the host. What would only be slow there, conflicts of banks, or a matter of luck, a
// copy that comes late, fails here.
//
#pragma once

#include "targets/cuda/tests/emulator/device/Common.cuh"

#include <algorithm>
#include <vector>

namespace mlc::cuda {

struct AsyncCopy {
  uint32_t to;
  const void *from;
  bool inside;
  int group;
};
struct AsyncCopies {
  std::vector<AsyncCopy> waiting;
  int group = 0;
};
inline AsyncCopies asyncCopies[1024]; // of each thread
/// Whether copies happen when a thread waits for them, as late as may be, or at once, as early as may be.
inline bool lateCopies = false;

inline void complete(const AsyncCopy &copy) {
  if (uintptr_t(copy.from) % 16) {
    fprintf(stderr, "emulator: a copy from an unaligned address\n");
    abort();
  }
  if (copy.inside)
    memcpy(sharedChunk(copy.to), copy.from, 16);
  else
    memset(sharedChunk(copy.to), 0, 16);
}
inline void copy16(uint32_t to, const void *from, bool inside) {
  AsyncCopies &mine = asyncCopies[threadIdx.x];
  AsyncCopy copy{to, from, inside, mine.group};
  if (lateCopies)
    mine.waiting.push_back(copy);
  else
    complete(copy);
}
inline void copyCommit() { ++asyncCopies[threadIdx.x].group; }
template <int kPending> void copyWait() {
  AsyncCopies &mine = asyncCopies[threadIdx.x];
  std::erase_if(mine.waiting, [&](const AsyncCopy &copy) {
    bool due = copy.group < mine.group - kPending;
    if (due)
      complete(copy);
    return due;
  });
}

inline void loadMatrices(uint32_t (&to)[4], uint32_t address, bool transposed) {
  uint32_t *places = emulator::exchange(1);
  const unsigned lane = threadIdx.x % 32;
  places[lane] = address;
  emulator::syncWarp();
  for (unsigned i = 0; i < 4; ++i) {
    const uint32_t *rows = places + 8 * i;
    unsigned banks = 0;
    for (unsigned row = 0; row < 8; ++row)
      banks |= 1u << rows[row] / 16 % 8;
    if (banks != 0xff) {
      fprintf(stderr, "emulator: rows of a matrix share banks\n");
      abort();
    }
    auto at = [&](unsigned row, unsigned column) {
      return uint32_t(load<uint16_t>(sharedChunk(rows[row]) + 2 * column));
    };
    const unsigned major = lane / 4, minor = lane % 4 * 2;
    to[i] = transposed ? at(minor, major) | at(minor + 1, major) << 16 : at(major, minor) | at(major, minor + 1) << 16;
  }
}
inline void loadMatrices(uint32_t (&to)[4], uint32_t address) { loadMatrices(to, address, false); }
inline void loadMatricesTransposed(uint32_t (&to)[4], uint32_t address) { loadMatrices(to, address, true); }

template <class T> void mma(float *sum, const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  uint32_t *places = emulator::exchange(6);
  const unsigned lane = threadIdx.x % 32;
  for (unsigned i = 0; i < 4; ++i)
    places[32 * i + lane] = a[i];
  places[32 * 4 + lane] = b0;
  places[32 * 5 + lane] = b1;
  emulator::syncWarp();
  auto half = [](uint32_t pair, unsigned i) { return widen<T>(uint16_t(pair >> 16 * i)); };
  for (unsigned r = 0; r < 2; ++r)
    for (unsigned c = 0; c < 2; ++c) {
      const unsigned column = lane % 4 * 2 + c;
      float product = 0;
      for (unsigned k = 0; k < 16; ++k)
        product += half(places[32 * (k / 8 * 2 + r) + lane / 4 * 4 + k % 8 / 2], k % 2) *
                   half(places[32 * (4 + k / 8) + column * 4 + k % 8 / 2], k % 2);
      sum[2 * r + c] += product;
    }
}

} // namespace mlc::cuda
