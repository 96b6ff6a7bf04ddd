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

/// Writes the count * blockElements(format) values of `count` consecutive blocks to `out`. `blocks` needs no alignment;
/// `format` must be a block format.
void dequantizeBlocks(fb::WeightFormat format, const uint8_t *blocks, size_t count, float *out);

} // namespace mlc
