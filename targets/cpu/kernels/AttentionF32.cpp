//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// attention with f32 products, by simd/Gemm.h.
//
#include "targets/cpu/kernels/AttentionTiles.h"
#include "targets/cpu/simd/Gemm.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

struct F32Products {
  using Value = float;
  static constexpr int64_t kRows = kGemmRows < 8 ? 2 * kGemmRows : kGemmRows, kTogether = 1;
  static constexpr bool kDirect = true, kCodes = false, kTiles = false;

  MLC_SIMD void storeRow(float *p, VF low, VF high) {
    store(p, low);
    store(p + kLanes, high);
  }
  template <int> MLC_SIMD void storeTile(float *tile, int64_t columns, int64_t row, int64_t column, VF even, VF odd) {
    store(tile + row * columns + column, even);
    store(tile + (row + 1) * columns + column, odd);
  }
  struct Operands {
    const float *x;
    int64_t xStride;
    const float *tile;
    int64_t columns, k;
    float *acc;
    int64_t accStride;
    bool fresh;
  };
  static void product(const Operands &o, int64_t rows, int64_t vectors) {
    gemm<fma>({o.x, o.xStride, o.tile, o.columns, kLanes, o.k, o.acc, o.accStride, o.fresh}, rows, vectors);
  }
  MLC_SIMD VF power(VF x) { return exp2Below(x); }
};
using Rows = TiledRows<F32Products>;

} // namespace

AttentionBlockFn attentionBlockF32;
void attentionBlockF32(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *scratch) {
  blockOf<Rows>(a, rowBegin, rowEnd, scratch);
}

AttentionChunkFn attentionChunkF32;
void attentionChunkF32(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, int64_t chunk, uint8_t *scratch) {
  chunkOf<Rows>(a, rowBegin, rowEnd, chunk, scratch);
}

AttentionBlockFn attentionCombineF32;
void attentionCombineF32(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *) {
  combineOf<Rows>(a, rowBegin, rowEnd);
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
