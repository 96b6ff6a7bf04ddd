//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// attention with bf16 products, by simd/Bf16.h.
//
#include "targets/cpu/kernels/AttentionTiles.h"
#include "targets/cpu/simd/Bf16.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

struct Bf16Products {
  using Value = Bf16;
  static constexpr int64_t kRows = kBf16Rows, kTogether = 2;
  static constexpr bool kDirect = false, kCodes = true, kTiles = sizeof(Bf16) == 2;
  using Operands = Bf16Gemm;

  MLC_SIMD void storeRow(Bf16 *p, VF low, VF high) { storeBf16(p, low, high); }
  /// bf16 values are exact as they are stored, int8 too.
  template <int Type>
  MLC_SIMD void storeTile(Bf16 *tile, int64_t columns, int64_t row, int64_t column, VF even, VF odd) {
    storeBf16Tile<Type == 2 || Type == 4>(tile, columns, row, column, even, odd);
  }
  static void product(const Bf16Gemm &b, int64_t rows, int64_t vectors) { bf16Gemm(b, rows, vectors); }
  MLC_SIMD VF power(VF x) { return exp2Short(x); }
};
using Rows = TiledRows<Bf16Products>;

} // namespace

AttentionBlockFn attentionBlockBf16;
void attentionBlockBf16(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *scratch) {
  blockOf<Rows>(a, rowBegin, rowEnd, scratch);
}

AttentionChunkFn attentionChunkBf16;
void attentionChunkBf16(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, int64_t chunk, uint8_t *scratch) {
  chunkOf<Rows>(a, rowBegin, rowEnd, chunk, scratch);
}

AttentionBlockFn attentionCombineBf16;
void attentionCombineBf16(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *) {
  combineOf<Rows>(a, rowBegin, rowEnd);
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
