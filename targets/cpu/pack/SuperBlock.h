//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// 256 columns of a panel of K-quants. A plain header: ISA forms include it.
//
#pragma once

#include <stdint.h>

namespace mlc::cpu {

constexpr int64_t kSuperColumns = 256;
/// Columns of a panel whose values lie together: as many lines of 64 bytes as a value has bits, the lower ones first.
constexpr int64_t kUnit = 32;

/// Lower bits of a value of `bits` bits that lie together, a divisor of 8.
constexpr int lowBits(int bits) { return bits == 8 ? 8 : bits >= 4 ? 4 : 2; }

/// Where its parts begin, after what the groups' factors are multiplied by: f16 of each output. One stream: factors
/// that lie behind all values of a panel, or behind those of their own columns, halve the speed of reading (Zen 4).
struct SuperBlock {
  int64_t offsets;               // f16 of each output.
  int64_t subScales, subOffsets; // 8 bits of each group and output.
  int64_t values;
  int64_t bytes; // A multiple of 64.
};
constexpr SuperBlock superBlock(int bits, int64_t group, bool offsets) {
  constexpr int64_t kOutputs = 16;
  SuperBlock block{};
  const int64_t factors = kSuperColumns / group * kOutputs;
  block.offsets = 2 * kOutputs;
  block.subScales = block.offsets * (offsets ? 2 : 1);
  block.subOffsets = block.subScales + factors;
  block.values = (block.subScales + factors * (offsets ? 2 : 1) + 63) / 64 * 64;
  block.bytes = block.values + kSuperColumns / kUnit * bits * 64;
  return block;
}

} // namespace mlc::cpu
