//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// GGUF's blocks as panels: the bits of 16 rows interleaved, scales and offsets beside them. No value changes.
//
#include "targets/cpu/pack/Pack.h"

#include "runtime/core/BlockFormats.h"

#include <cstring>

namespace mlc::cpu {

// Values are put into bytes of quads: byte (r * 4 + column % 4) of the quad's 64, several quads in one byte where the
// values are narrower.
static void putBits(uint8_t *lines, unsigned width, uint64_t column, unsigned row, unsigned value) {
  uint64_t quad = column / 4, quadsPerByte = 8 / width;
  lines[quad / quadsPerByte * 64 + row * 4 + column % 4] |= uint8_t(value << (quad % quadsPerByte * width));
}

void packBlocks(const fb::WeightDesc &desc, uint64_t rowBegin, uint64_t rowEnd, const uint8_t *blocks, uint8_t *out) {
  fb::WeightFormat format = blockOfPanel(desc.format());
  const BlockShape &shape = blockShape(format);
  PanelLayout layout = panelLayout(desc);
  uint64_t elements = blockElements(format), perRow = desc.k() / elements, groups = elements / shape.group;
  unsigned low = unsigned(lowBits(shape.bits)), high = shape.bits - low;
  for (uint64_t row = rowBegin; row < rowEnd; ++row) {
    uint64_t r = row % kPanel;
    uint8_t *panel = out + (row - rowBegin) / kPanel * layout.bytes;
    if (r == 0)
      memset(panel, 0, size_t(layout.bytes));
    for (uint64_t b = 0; b < perRow; ++b, blocks += blockBytes(format)) {
      BlockParts parts;
      splitBlock(format, blocks, parts);
      for (uint64_t i = 0; i < elements; ++i) {
        uint8_t *unit = panel + unitOffset(layout, b * elements + i);
        putBits(unit, low, i % kUnit, unsigned(r), parts.q[i] & ((1u << low) - 1));
        if (high)
          putBits(unit + low * 64, high, i % kUnit, unsigned(r), parts.q[i] >> low);
      }
      uint64_t factor = (b * elements % layout.blockColumns / elements * kPanel + r) * 2;
      uint8_t *to = panel + b * elements / layout.blockColumns * layout.blockBytes;
      memcpy(to + layout.scalesOffset + factor, &parts.d, 2);
      if (shape.offsets)
        memcpy(to + layout.offsetsOffset + factor, &parts.m, 2);
      for (uint64_t g = 0; shape.super && g < groups; ++g) {
        to[layout.subScalesOffset + g * kPanel + r] = parts.scales[g];
        if (shape.offsets)
          to[layout.subOffsetsOffset + g * kPanel + r] = parts.offsets[g];
      }
    }
  }
}

} // namespace mlc::cpu
