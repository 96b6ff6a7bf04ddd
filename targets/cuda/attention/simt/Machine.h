//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A block of threads on the host: each thread is a fiber, so barriers, shuffles, matrix loads and products see all
// lanes at one point as on the device. Shared memory begins as NaN. Warps run one after the other, in either order:
// what depends on the order lacks a barrier. A copy happens when it is waited for or, backwards, when it is issued.
//
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace mlc::attention {

namespace emulator {

constexpr int kLanes = 32;

/// One block after the other of `blocks`, of `threads` threads each (a multiple of 32). False, with a line on stderr,
/// if threads wait for one another for ever. `backwards`: the last block, warp and lane first.
bool launch(int blocks, int threads, size_t sharedBytes, bool backwards, const std::function<void()> &kernel);

int threadIndex();
int blockIndex();
void *shared();
size_t sharedBytes();
void barrier();
/// Every lane calls it; the last one does `perform` on what all gave.
void together(void *mine, void (*perform)(std::span<void *const> lanes));
void copyLater(void *to, const void *from, bool valid);
void commit();
void wait(int groups);

struct Product {
  float *sum;
  const uint32_t *a;
  uint32_t b[2];
  float (*value)(uint16_t);
};
void multiply(std::span<void *const> lanes);
struct MatrixLoad {
  uint32_t *to;
  const void *row;
};
void load(std::span<void *const> lanes);
void loadTransposed(std::span<void *const> lanes);
void exchange(std::span<void *const> lanes);
struct Exchange {
  float value;
  int lanes;
  float received;
};

float valueOfBf16(uint16_t bits);
float valueOfF16(uint16_t bits);
uint16_t bf16Of(float value);
uint16_t f16Of(float value);

} // namespace emulator

} // namespace mlc::attention
