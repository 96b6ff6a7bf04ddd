//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A weight of any format and a call of `linear` on it.
//
#pragma once

#include "runtime/core/BlockFormats.h"
#include "targets/cpu/pack/Pack.h"
#include "targets/cpu/tests/TestSupport.h"

#include <cmath>
#include <cstring>

namespace mlc::test {

using namespace cpu;
using fb::WeightFormat;

struct Format {
  WeightFormat format;
  uint32_t group = 0;
  bool asymmetric = false;
};
const Format kFormats[] = {
    {WeightFormat::rows_f32},
    {WeightFormat::rows_f16},
    {WeightFormat::rows_bf16},
    {WeightFormat::panel_f32},
    {WeightFormat::panel_f16},
    {WeightFormat::panel_bf16},
    {WeightFormat::panel_int8, 0},
    {WeightFormat::panel_int8, 32},
    {WeightFormat::panel_int8, 128},
    {WeightFormat::panel_int4, 32},
    {WeightFormat::panel_int4, 64},
    {WeightFormat::panel_int4, 128},
    {WeightFormat::panel_int4, 32, true},
    {WeightFormat::panel_int4, 128, true},
    {WeightFormat::panel_q4_0},
    {WeightFormat::panel_q4_1},
    {WeightFormat::panel_q5_0},
    {WeightFormat::panel_q5_1},
    {WeightFormat::panel_q8_0},
    {WeightFormat::panel_q2_k},
    {WeightFormat::panel_q3_k},
    {WeightFormat::panel_q4_k},
    {WeightFormat::panel_q5_k},
    {WeightFormat::panel_q6_k},
};

/// A k that the format takes, near `k`.
inline uint64_t columnsFor(const Format &format, uint64_t k) {
  WeightFormat block = isBlockPanel(format.format) ? blockOfPanel(format.format) : format.format;
  return isBlockFormat(block) ? alignUp<uint64_t>(k, blockElements(block)) : k;
}

/// A weight, packed, and what it stands for.
struct Weight {
  fb::WeightDesc desc;
  Tensor packed;
  std::vector<float> values; // [n][k], unpacked.

  Weight(Random &random, const Format &format, uint64_t n, uint64_t k)
      : desc(n, k, format.group, format.format, format.asymmetric) {
    uint64_t bytes = *packedBytes(desc);
    std::vector<float> source = normals(random, n * k, 1.0f / std::sqrt(float(k)));
    std::vector<uint8_t> out(bytes);
    bool panel = isBlockPanel(format.format);
    if (WeightFormat block = panel ? blockOfPanel(format.format) : format.format; isBlockFormat(block)) {
      std::vector<uint8_t> blocks(n * k / blockElements(block) * blockBytes(block));
      for (uint8_t &byte : blocks)
        byte = uint8_t(random());
      // Any bytes are a block; only the f16 scales must not be huge, infinite or NaN.
      for (size_t b = 0; b < blocks.size(); b += blockBytes(block))
        for (size_t at : scaleOffsets(block)) {
          blocks[b + at] = uint8_t(random());
          blocks[b + at + 1] = uint8_t((random() & 0x83) | 0x18);
        }
      if (panel)
        packBlocks(desc, 0, n, blocks.data(), out.data());
      else
        out = blocks;
    } else {
      EXPECT_TRUE(packRows(desc, 0, n, source.data(), out.data()));
    }
    if (isRows(format.format)) {
      DType dtype = DType(format.format); // rows_* and the float dtypes share their order.
      packed = Tensor(dtype, {int64_t(n), int64_t(k)});
      memcpy(packed.view.data, out.data(), bytes);
    } else {
      packed = Tensor::bytes(out, int64_t(random() % 3));
    }
    values.resize(n * k);
    for (uint64_t row = 0; row < n; ++row)
      unpackRow(desc, packed.view.as<uint8_t>(), row, values.data() + row * k);
  }
  static std::vector<size_t> scaleOffsets(WeightFormat format) {
    switch (format) {
    case WeightFormat::block_q4_1:
    case WeightFormat::block_q5_1:
    case WeightFormat::block_q4_k:
    case WeightFormat::block_q5_k:
      return {0, 2};
    case WeightFormat::block_q2_k:
      return {80, 82};
    case WeightFormat::block_q3_k:
      return {108};
    case WeightFormat::block_q6_k:
      return {208};
    default:
      return {0};
    }
  }
};

/// Quantized rows of x by the kernel.
inline Tensor quantize(const Tensor &x, uint64_t k, RowGroups groups, Isa isa, unsigned threads = 1) {
  fb::QuantizeRowsAttrs attrs(k, groups.group, groups.sumGroup);
  Tensor rows(DType::u8, {x.view.dims[0], int64_t(QuantizedRow(k, groups.group, groups.sumGroup).bytes)});
  Call call("quantize_rows", attrs);
  call.inputs = {&x};
  call.outputs = {&rows};
  call.run(isa, threads);
  return rows;
}
inline RowGroups groupsOf(const fb::WeightDesc &desc) { return rowGroups(desc); }

struct LinearCase {
  const Weight &weight;
  const std::vector<float> &x; // [rows][k]
  const std::vector<float> *bias = nullptr, *residual = nullptr;
  int64_t padding = 0;
  bool bf16 = false;

  std::vector<float> run(int64_t begin, int64_t end, Isa isa, unsigned threads) const {
    int64_t k = int64_t(weight.desc.k()), n = int64_t(weight.desc.n());
    std::vector<float> part(x.begin() + begin * k, x.begin() + end * k);
    Tensor input = Tensor::matrix(part, end - begin, k, padding, padding);
    bool quantized = isQuantized(weight.desc.format());
    if (quantized)
      input = quantize(input, weight.desc.k(), groupsOf(weight.desc), isa, threads);
    fb::LinearAttrs attrs(weight.desc, quantized, bias != nullptr, residual != nullptr, false, fb::Activation::none, 0,
                          0, bf16);
    Tensor out(DType::f32, {end - begin, n}, padding, 1), biasTensor, residualTensor;
    Call call("linear", attrs);
    call.inputs = {&input, &weight.packed};
    call.tokens = {true, false};
    call.outputs = {&out};
    if (bias) {
      biasTensor = Tensor::vector(*bias);
      call.inputs.push_back(&biasTensor);
      call.tokens.push_back(false);
    }
    if (residual) {
      std::vector<float> rows(residual->begin() + begin * n, residual->begin() + end * n);
      residualTensor = Tensor::matrix(rows, end - begin, n, padding);
      call.inputs.push_back(&residualTensor);
      call.tokens.push_back(true);
    }
    call.run(isa, threads);
    return out.values();
  }
};

} // namespace mlc::test
