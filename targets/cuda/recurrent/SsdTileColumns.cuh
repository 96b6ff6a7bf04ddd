//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd on tensor cores: the warps that have the state.
//
#pragma once

#include "targets/cuda/recurrent/SsdTilePage.cuh"

namespace mlc::cuda {

/// A warp with 16 columns of the state, two pages behind b and c: rows g and g + 8 of a product are columns 2 g and
/// 2 g + 1. Of 16 values of the state from 16 q on a lane has 4 t, ..., 4 t + 3, two in each of the tiles 2 q, 2 q + 1.
template <int kStates> struct SsdTileColumns : SsdTileBlock<kStates> {
  using Block = SsdTileBlock<kStates>;
  using Block::args, Block::begin, Block::blocks, Block::end, Block::lane;
  static constexpr int kSteps = kStates / 16;
  int t = lane % 4;
  int warpColumn = this->firstColumn + agreed(int(threadIdx.x) / kWarp) * 16,
      column = warpColumn + lane / 4 * 2; // Of head_dim.
  float state[2 * kSteps][4] = {};

  MLC_DEVICE SsdTileColumns(const SsdArgs &args, int head, int firstColumn) : Block{args, head, firstColumn} {}

  MLC_DEVICE bool wideBases() const {
    return args.size % 4 == 0 && (uintptr_t(args.state.bases) | uint64_t(args.state.baseStride)) % 16 == 0;
  }
  /// Calculated anew wherever it is wanted: the state leaves few registers.
  MLC_DEVICE int64_t xColumn() const { return int64_t(this->head) * args.headDim + forget(column); }
  /// The four entries that a lane has as an operand and as outputs.
  MLC_DEVICE int entry(int i) const { return 8 * (i / 2) + 2 * t + i % 2; }
  MLC_DEVICE int64_t stateOffset() const { return xColumn() * args.size + 4 * t; }
  /// Calls f(where it lies in a base from there on, a, b, c, d) for each four values of the state that the lane has.
  template <typename F> MLC_DEVICE void forQuads(const F &f) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int left = column + r < args.headDim ? args.size - 4 * t : 0;
#pragma unroll
      for (int q = 0; q < kSteps; ++q)
        if (16 * q < left)
          f(r * args.size + 16 * q, state[2 * q][2 * r], state[2 * q][2 * r + 1], state[2 * q + 1][2 * r],
            state[2 * q + 1][2 * r + 1]);
    }
  }
  /// The same for one value after the other, f(where, value): of bases that hold no whole fours. Short code, not fast.
  template <typename F> MLC_DEVICE void forValues(const F &f) {
#pragma unroll 1
    for (int i = 0; i < kSteps * 8; ++i) {
      const int r = i % 2, e = i / 2 % 4, q = i / 8;
      if (column + r >= args.headDim || 16 * q + 4 * t + e >= args.size)
        continue;
      float value = 0;
      forValue(i, [&](float &place) { value = place; });
      f(r * args.size + 16 * q + e, value);
      forValue(i, [&](float &place) { place = value; });
    }
  }
  /// Registers have no addresses.
  template <typename F> MLC_DEVICE void forValue(int i, const F &f) {
#pragma unroll
    for (int k = 0; k < kSteps * 8; ++k)
      if (k == i)
        f(state[2 * (k / 8) + k / 4 % 2][2 * (k % 2) + k / 2 % 2]);
  }
  MLC_DEVICE void loadBase() {
    const uint8_t *base = baseAt(args.state, blocks.base);
    const auto *floats = reinterpret_cast<const float *>(base) + stateOffset();
    const auto *halves = reinterpret_cast<const uint16_t *>(base) + stateOffset();
    if (!wideBases())
      forValues([&](int at, float &value) { value = args.bf16State ? bf16ToFloat(halves[at]) : floats[at]; });
    else if (args.bf16State)
      forQuads([&](int at, float &a, float &b, float &c, float &d) {
        const uint2 four = *reinterpret_cast<const uint2 *>(halves + at);
        a = __uint_as_float(four.x << 16), b = __uint_as_float(four.x & 0xffff0000);
        c = __uint_as_float(four.y << 16), d = __uint_as_float(four.y & 0xffff0000);
      });
    else
      forQuads([&](int at, float &a, float &b, float &c, float &d) {
        const float4 four = *reinterpret_cast<const float4 *>(floats + at);
        a = four.x, b = four.y, c = four.z, d = four.w;
      });
  }
  MLC_DEVICE void storeBase(uint32_t block) {
    uint8_t *base = baseAt(args.state, block);
    auto *floats = reinterpret_cast<float *>(base) + stateOffset();
    auto *halves = reinterpret_cast<uint16_t *>(base) + stateOffset();
    if (!wideBases())
      forValues([&](int at, float value) {
        if (args.bf16State)
          halves[at] = floatToBf16(value);
        else
          floats[at] = value;
      });
    else if (args.bf16State)
      forQuads([&](int at, float a, float b, float c, float d) {
        *reinterpret_cast<uint2 *>(halves + at) = {pairToBf16(a, b), pairToBf16(c, d)};
      });
    else
      forQuads(
          [&](int at, float a, float b, float c, float d) { *reinterpret_cast<float4 *>(floats + at) = {a, b, c, d}; });
  }

  /// x of an entry, of both columns.
  MLC_DEVICE float2 x(int page, int i) const {
    return *reinterpret_cast<const float2 *>(this->at(page).x + entry(i) * Block::Page::kColumns + column -
                                             this->firstColumn);
  }
  /// x times the weights of its entries as the left operand.
  MLC_DEVICE void operand(int page, const float (&w)[4], uint32_t (&a)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const float2 even = x(page, i), odd = x(page, i + 1);
      a[i] = pairToBf16(w[i] * even.x, w[i + 1] * odd.x);
      a[i + 1] = pairToBf16(w[i] * even.y, w[i + 1] * odd.y);
    }
  }
  MLC_DEVICE void fourOf(const float *values, float (&four)[4]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2 two = *reinterpret_cast<const float2 *>(values + 8 * half + 2 * t);
      four[2 * half] = two.x, four[2 * half + 1] = two.y;
    }
  }

  MLC_DEVICE static void roundTile(float (&tile)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const uint32_t pair = pairToBf16(tile[i], tile[i + 1]);
      tile[i] = __uint_as_float(pair << 16), tile[i + 1] = __uint_as_float(pair & 0xffff0000);
    }
  }

  /// y[half] becomes S c^T of eight rows of the page. Steps are summed in two chains, so that none waits for the one
  /// before.
  MLC_DEVICE void readState(int page, float (&y)[2][4]) const {
    const auto &shared = this->at(page);
    float sums[2][2][4] = {};
#pragma unroll
    for (int q = 0; q < kSteps; ++q) {
      const float(&even)[4] = state[2 * q], (&odd)[4] = state[2 * q + 1];
      const uint32_t a[4] = {pairToBf16(even[0], even[1]), pairToBf16(even[2], even[3]), pairToBf16(odd[0], odd[1]),
                             pairToBf16(odd[2], odd[3])};
      uint32_t c[4];
      loadSquare<Block::Page::kStride, Square::across>(shared.c + 32 * q, c);
      const uint32_t left[2] = {c[0], c[1]}, right[2] = {c[2], c[3]};
      multiply(sums[q % 2][0], a, left);
      multiply(sums[q % 2][1], a, right);
    }
    float decays[4];
    fourOf(shared.decay, decays);
    const bool has = shared.fresh == 0;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        y[half][i] = has ? (sums[0][half][i] + sums[1][half][i]) * decays[2 * half + i % 2] : 0.0f;
  }

  /// The state becomes that behind the page.
  MLC_DEVICE void fold(int page) {
    const auto &shared = this->at(page);
    const float decay = shared.decay[kStatePage - 1];
    float weights[4];
    fourOf(shared.weight, weights);
    uint32_t weighted[4];
    operand(page, weights, weighted);
#pragma unroll
    for (int q = 0; q < kSteps; ++q) {
      uint32_t b[4];
      loadSquare<Block::Page::kStride, Square::down>(shared.b + 32 * q, b);
      const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
      float(&even)[4] = state[2 * q], (&odd)[4] = state[2 * q + 1];
#pragma unroll
      for (int e = 0; e < 4; ++e)
        even[e] *= decay, odd[e] *= decay;
      multiply(even, weighted, left);
      multiply(odd, weighted, right);
    }
  }

  /// Takes what is not finite out of x; first: the first entry of each column that was not.
  MLC_DEVICE void takeOut(uint32_t (&a)[4], int (&first)[2]) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      int least = kStatePage;
#pragma unroll
      for (int i = 3; i >= 0; --i) {
        const uint32_t mask = i % 2 ? 0x7f800000 : 0x7f80;
        uint32_t &pair = a[2 * (i / 2) + r];
        if ((pair & mask) == mask) {
          least = entry(i);
          pair &= i % 2 ? 0xffff : 0xffff0000;
        }
      }
      float best = -float(least);
      best = fmaxf(best, shuffleXor(best, 1));
      first[r] = -int(fmaxf(best, shuffleXor(best, 2)));
    }
  }

  /// Adds what the page's own entries give.
  MLC_DEVICE void addEntries(int page, float (&y)[2][4]) const {
    const float ones[4] = {1, 1, 1, 1};
    uint32_t a[4], zeros = 0;
    operand(page, ones, a);
    const uint4 g = this->at(page).g[lane];
    const uint32_t low[2] = {g.x, g.y}, high[2] = {g.z, g.w};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      zeros = fmaBf16Pair(a[i], 0, zeros);
    // Numbers times 0 are 0.
    if (!anyOfWarp(zeros & 0x7fff7fff)) {
      multiply(y[0], a, low);
      multiply(y[1], a, high);
      return;
    }
    int first[2];
    takeOut(a, first);
    multiply(y[0], a, low);
    multiply(y[1], a, high);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (const int r = i % 4 / 2; entry(i / 4 * 2 + i % 2) >= first[r])
        y[i / 4][i % 4] = notANumber();
  }

  MLC_DEVICE void consume(int page) {
    const auto &shared = this->at(page);
    float y[2][4];
    if (args.bf16State)
#pragma unroll
      for (int i = 0; i < 2 * kSteps; ++i)
        roundTile(state[i]);
    readState(page, y);
    if (end(page) == kStatePage)
      fold(page);
    page = forget(page); // x is read again, rather than kept while the state is folded.
    addEntries(page, y);
    float2 sums[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 input = x(page, i);
      sums[i] = {fmaf(shared.d, input.x, y[i / 2][i % 2]), fmaf(shared.d, input.y, y[i / 2][2 + i % 2])};
    }
    const int stride = forget(int(args.out.stride));
    float *out = args.out.data + (this->row(page) + 2 * t) * stride + xColumn();
    auto place = [&](int i) { return out + (8 * (i / 2) + i % 2) * stride; };
    const bool pairs = args.headDim % 2 == 0 && beginAt(args.out.data, stride, 2);
    if (pairs && end(page) - begin(page) == kStatePage) {
      if (column < args.headDim)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          *reinterpret_cast<float2 *>(place(i)) = sums[i];
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int j = entry(i), count = j >= begin(page) && j < end(page) ? args.headDim - column : 0;
        if (count > 0)
          place(i)[0] = sums[i].x;
        if (count > 1)
          place(i)[1] = sums[i].y;
      }
    }
    if (end(page) == kStatePage && shared.kept.base != kNoStateBlock)
      storeBase(shared.kept.base);
  }
  MLC_DEVICE void run() {
    const bool works = warpColumn < args.headDim;
    if (works && blocks.base != kNoStateBlock)
      loadBase();
    meetProducts();
    for (int page = 0; page < this->pages; ++page) {
      meetProducts();
      if (works)
        consume(page);
    }
  }
};

} // namespace mlc::cuda
