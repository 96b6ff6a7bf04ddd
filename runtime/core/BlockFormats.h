//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// GGUF's block formats: how many values a block holds, and its values in f32, bit for bit as the format defines them
// (gguf-py's quants.py: every product and sum in f32, in the order written there, never contracted).
//
#pragma once

#include "schema_generated.h"

#include <cstddef>
#include <cstdint>

namespace mlc {

/// Whether `format` is one of GGUF's block formats.
bool isBlockFormat(fb::WeightFormat format);
/// Values of one block: 32 or 256; 0 for what is no block format.
unsigned blockElements(fb::WeightFormat format);
/// Bytes of one block; 0 for what is no block format.
unsigned blockBytes(fb::WeightFormat format);
/// The name GGUF gives the format ("Q4_K"); "?" for what is no block format.
const char *blockName(fb::WeightFormat format);

/// A block taken apart: value i = d * factor * (q[i] - zero) - m * factor', where the factors are 1 in blocks of 32 and
/// those of its group of 16 or 32 values in blocks of 256.
struct BlockParts {
  uint16_t d = 0, m = 0; // f16; m has its sign turned where the format adds it.
  uint8_t q[256];
  uint8_t scales[16], offsets[16]; // Of each group; scales of q3_k and q6_k are int8.
};
/// How a format's blocks are made: bits of q, its zero, values of a group, whether there is an offset, and whether the
/// groups' scales are signed.
struct BlockShape {
  uint8_t bits, zero, group;
  bool offsets, super, signedScales;
};
/// `format` must be a block format.
const BlockShape &blockShape(fb::WeightFormat format);
void splitBlock(fb::WeightFormat format, const uint8_t *block, BlockParts &parts);

/// Writes the count * blockElements(format) values of `count` consecutive blocks to `out`. `blocks` needs no alignment;
/// `format` must be a block format.
void dequantizeBlocks(fb::WeightFormat format, const uint8_t *blocks, size_t count, float *out);

} // namespace mlc
