//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear and quantize_rows: every format and form against double sums, batch invariance, equality of integer forms.
//
#include "runtime/core/BlockFormats.h"
#include "targets/cpu/tests/TestSupport.h"

#include "targets/cpu/pack/Pack.h"

#include <cmath>
#include <cstring>

using namespace mlc;
using namespace mlc::cpu;
using namespace mlc::test;
using fb::WeightFormat;

namespace {

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
};

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
    if (isBlockFormat(format.format)) {
      for (uint8_t &byte : out)
        byte = uint8_t(random());
      // Any bytes are a block; only the f16 scales must not be huge, infinite or NaN.
      for (size_t b = 0; b < bytes; b += blockBytes(format.format))
        for (size_t at : scaleOffsets(format.format)) {
          out[b + at] = uint8_t(random());
          out[b + at + 1] = uint8_t((random() & 0x83) | 0x18);
        }
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
Tensor quantize(const Tensor &x, uint64_t k, uint32_t group, Isa isa, unsigned threads = 1) {
  fb::QuantizeRowsAttrs attrs(k, group);
  Tensor rows(DType::u8, {x.view.dims[0], int64_t(quantizedRowBytes(k, group))});
  Call call("quantize_rows", attrs);
  call.inputs = {&x};
  call.outputs = {&rows};
  call.run(isa, threads);
  return rows;
}

struct LinearCase {
  const Weight &weight;
  const std::vector<float> &x; // [rows][k]
  const std::vector<float> *bias = nullptr, *residual = nullptr;
  int64_t padding = 0;

  std::vector<float> run(int64_t begin, int64_t end, Isa isa, unsigned threads) const {
    int64_t k = int64_t(weight.desc.k()), n = int64_t(weight.desc.n());
    std::vector<float> part(x.begin() + begin * k, x.begin() + end * k);
    Tensor input = Tensor::matrix(part, end - begin, k, padding, padding);
    bool quantized = isQuantized(weight.desc.format());
    if (quantized)
      input = quantize(input, weight.desc.k(), weight.desc.group(), isa, threads);
    fb::LinearAttrs attrs(weight.desc, quantized, bias != nullptr, residual != nullptr);
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

/// Dequantized values of quantized rows.
std::vector<float> dequantized(const Tensor &rows, uint64_t k, uint32_t group) {
  std::vector<float> values;
  for (int64_t r = 0; r < rows.view.dims[0]; ++r) {
    const uint8_t *row = rows.view.row<uint8_t>(r);
    for (uint64_t i = 0; i < k; ++i) {
      float scale;
      memcpy(&scale, row + quantizedScalesOffset(k, group) + 4 * (i / effectiveGroup(k, group)), 4);
      values.push_back(float(int8_t(row[i])) * scale);
    }
  }
  return values;
}

void expectNear(const std::vector<float> &got, const Weight &weight, const std::vector<float> &x, int64_t rows,
                const std::vector<float> *bias, const std::vector<float> *residual, const char *what) {
  uint64_t n = weight.desc.n(), k = weight.desc.k();
  for (int64_t r = 0; r < rows; ++r)
    for (uint64_t c = 0; c < n; ++c) {
      double sum = 0, size = 0;
      for (uint64_t i = 0; i < k; ++i) {
        double product = double(x[size_t(r) * k + i]) * double(weight.values[c * k + i]);
        sum += product;
        size += std::fabs(product);
      }
      if (bias)
        sum += double((*bias)[c]);
      if (residual)
        sum += double((*residual)[size_t(r) * n + c]);
      size += std::fabs(sum);
      ASSERT_NEAR(got[size_t(r) * n + c], sum, 1e-7 * (4 + std::sqrt(double(k))) * size + 1e-30)
          << what << " row " << r << " column " << c << " n " << n << " k " << k;
    }
}

} // namespace

TEST(Linear, EveryFormatAndFormMatchesDouble) {
  Random random(7);
  std::vector<Format> formats(std::begin(kFormats), std::end(kFormats));
  for (int f = int(WeightFormat::block_q4_0); f <= int(WeightFormat::block_q6_k); ++f)
    formats.push_back({WeightFormat(f)});
  for (const Format &format : formats)
    for (int trial = 0; trial < 3; ++trial) {
      bool block = isBlockFormat(format.format);
      uint64_t n = uint64_t(uniform(random, 1, 70)), k = uint64_t(uniform(random, 1, 600)),
               rows = uint64_t(uniform(random, 1, 20));
      if (block)
        k = 256 * uint64_t(uniform(random, 1, 3));
      Weight weight(random, format, n, k);
      std::vector<float> x = normals(random, rows * k), bias = normals(random, n), residual = normals(random, rows * n);
      LinearCase linear{weight, x, trial & 1 ? &bias : nullptr, trial ? &residual : nullptr, uniform(random, 0, 3)};
      for (Isa isa : forms()) {
        std::vector<float> got = linear.run(0, int64_t(rows), isa, 1), source = x;
        if (isQuantized(format.format))
          source = dequantized(quantize(Tensor::matrix(x, int64_t(rows), int64_t(k)), k, format.group, isa), k,
                               format.group);
        expectNear(got, weight, source, int64_t(rows), linear.bias, linear.residual,
                   (std::string(isaName(isa)) + " " + fb::EnumNameWeightFormat(format.format)).c_str());
        if (HasFatalFailure())
          return;
      }
    }
}

// A row alone, in any batch, on any number of threads: the same bits.
TEST(Linear, BatchInvariance) {
  Random random(11);
  for (const Format &format : kFormats) {
    uint64_t n = uint64_t(uniform(random, 20, 90)), k = uint64_t(uniform(random, 30, 1100));
    int64_t rows = 64;
    Weight weight(random, format, n, k);
    std::vector<float> x = normals(random, size_t(rows) * k), bias = normals(random, n);
    LinearCase linear{weight, x, &bias};
    for (Isa isa : forms()) {
      std::vector<float> all = linear.run(0, rows, isa, 1);
      for (int trial = 0; trial < 4; ++trial) {
        int64_t begin = uniform(random, 0, rows - 1),
                end = uniform(random, begin + 1, std::min(rows, begin + 1 + trial * 9));
        std::vector<float> part = linear.run(begin, end, isa, unsigned(trial + 1));
        std::vector<float> expected(all.begin() + begin * int64_t(n), all.begin() + end * int64_t(n));
        ASSERT_TRUE(sameBits(part, expected)) << fb::EnumNameWeightFormat(format.format) << " " << isaName(isa);
      }
      ASSERT_TRUE(sameBits(linear.run(0, rows, isa, 4), all));
    }
  }
}

// More rows than a tile holds, more panels than a run holds.
TEST(Linear, ManyTiles) {
  Random random(13);
  for (Format format :
       {Format{WeightFormat::panel_f32}, Format{WeightFormat::panel_int8, 64}, Format{WeightFormat::panel_int4, 128}}) {
    uint64_t n = 620, k = 260;
    int64_t rows = 431;
    Weight weight(random, format, n, k);
    std::vector<float> x = normals(random, size_t(rows) * k);
    LinearCase linear{weight, x};
    Isa isa = machineIsa();
    std::vector<float> all = linear.run(0, rows, isa, 4);
    for (int64_t r : {int64_t(0), int64_t(190), int64_t(191), int64_t(192), int64_t(430)}) {
      std::vector<float> expected(all.begin() + r * int64_t(n), all.begin() + (r + 1) * int64_t(n));
      ASSERT_TRUE(sameBits(linear.run(r, r + 1, isa, 2), expected)) << r;
    }
  }
}

TEST(Linear, IntegerFormsAreBitwiseEqual) {
  Random random(17);
  for (const Format &format : kFormats) {
    if (!isQuantized(format.format))
      continue;
    for (int trial = 0; trial < 4; ++trial) {
      uint64_t n = uint64_t(uniform(random, 1, 60)), k = uint64_t(uniform(random, 1, 700));
      int64_t rows = uniform(random, 1, 15);
      fb::WeightDesc desc(n, k, format.group, format.format, format.asymmetric);
      // Every byte of weight and activation, extremes included; finite scales.
      std::vector<uint8_t> packed(*packedBytes(desc));
      for (uint8_t &byte : packed)
        byte = trial == 0 ? 0xff : trial == 1 ? 0 : uint8_t(random());
      PanelLayout layout = panelLayout(desc);
      for (uint64_t p = 0; p < ceilDiv(n, kPanel); ++p)
        for (uint64_t i = 0; i < layout.groups * kPanel; ++i) {
          uint16_t scale = uint16_t(0x3c00 + random() % 256);
          memcpy(packed.data() + p * layout.bytes + layout.scalesOffset + 2 * i, &scale, 2);
        }
      Tensor weight = Tensor::bytes(packed);
      Tensor x(DType::u8, {rows, int64_t(quantizedRowBytes(k, format.group))});
      for (int64_t r = 0; r < rows; ++r) {
        uint8_t *row = x.view.row<uint8_t>(r);
        for (uint64_t g = 0; g < layout.groups; ++g) {
          int32_t sum = 0;
          for (uint64_t i = g * layout.group; i < (g + 1) * layout.group; ++i) {
            row[i] = i >= k ? 0 : trial < 2 ? 0x80 : trial == 2 ? 0x7f : uint8_t(random());
            sum += int8_t(row[i]);
          }
          float scale = 0.01f + float(random() % 100);
          memcpy(row + quantizedScalesOffset(k, format.group) + 4 * g, &scale, 4);
          memcpy(row + quantizedSumsOffset(k, format.group) + 4 * g, &sum, 4);
        }
      }
      fb::LinearAttrs attrs(desc, true, false, false);
      std::vector<float> first;
      for (Isa isa : forms()) {
        Tensor out(DType::f32, {rows, int64_t(n)});
        Call call("linear", attrs);
        call.inputs = {&x, &weight};
        call.outputs = {&out};
        call.run(isa);
        if (first.empty())
          first = out.values();
        ASSERT_TRUE(sameBits(out.values(), first)) << isaName(isa) << " " << fb::EnumNameWeightFormat(format.format);
      }
      // The formula of docs/kernels.md, written out.
      for (int64_t r = 0; r < rows; ++r)
        for (uint64_t c = 0; c < n; ++c) {
          const uint8_t *panel = packed.data() + c / kPanel * layout.bytes, *row = x.view.row<uint8_t>(r);
          float acc = 0;
          for (uint64_t g = 0; g < layout.groups; ++g) {
            int64_t sum = 0;
            int zero = format.format == WeightFormat::panel_int8 ? 128 : 8;
            if (format.asymmetric)
              zero = int8_t(panel[layout.zerosOffset + g * kPanel + c % kPanel]);
            for (uint64_t i = g * layout.group; i < (g + 1) * layout.group; ++i) {
              int q = format.format == WeightFormat::panel_int8
                          ? panel[i / 4 * 64 + c % kPanel * 4 + i % 4]
                          : panel[i / 8 * 64 + c % kPanel * 4 + i % 4] >> (i / 4 % 2 * 4) & 15;
              sum += int64_t(q - zero) * int8_t(row[i]);
            }
            uint16_t bits;
            float scale, weightScale;
            memcpy(&bits, panel + layout.scalesOffset + (g * kPanel + c % kPanel) * 2, 2);
            weightScale = std::bit_cast<float>(uint32_t(bits) << 16);
            memcpy(&scale, row + quantizedScalesOffset(k, format.group) + 4 * g, 4);
            acc = std::fma(float(int32_t(sum)), weightScale * scale, acc);
          }
          ASSERT_EQ(acc, first[size_t(r) * n + c]);
        }
    }
  }
}

TEST(QuantizeRows, FormsAreEqualAndRoundToNearest) {
  Random random(19);
  for (int trial = 0; trial < 30; ++trial) {
    uint64_t k = uint64_t(uniform(random, 1, 500));
    uint32_t groups[] = {0, 32, 64, 128, 96}, group = groups[trial % 5];
    int64_t rows = uniform(random, 1, 9);
    std::vector<float> x = normals(random, size_t(rows) * k, trial % 7 == 3 ? 1e-38f : 3.0f);
    if (trial % 3 == 0)
      std::fill_n(x.begin(), std::min<size_t>(x.size(), 200), 0.0f);
    if (trial % 10 == 9)
      x[0] = trial == 9 ? NAN : -INFINITY;
    Tensor input = Tensor::matrix(x, rows, int64_t(k), trial % 4);
    size_t bytes = quantizedRowBytes(k, group);
    std::vector<uint8_t> first;
    for (Isa isa : forms()) {
      Tensor out = quantize(input, k, group, isa, unsigned(trial % 4 + 1));
      std::vector<uint8_t> all(out.view.as<uint8_t>(), out.view.as<uint8_t>() + size_t(rows) * bytes);
      if (first.empty())
        first = all;
      ASSERT_EQ(all, first) << isaName(isa);
    }
    for (int64_t r = 0; r < rows; ++r)
      for (uint64_t g = 0; g < groupCount(k, group); ++g) {
        const uint8_t *row = first.data() + size_t(r) * bytes;
        float scale, amax = 0;
        int32_t sum, expected = 0;
        memcpy(&scale, row + quantizedScalesOffset(k, group) + 4 * g, 4);
        memcpy(&sum, row + quantizedSumsOffset(k, group) + 4 * g, 4);
        uint64_t begin = g * effectiveGroup(k, group), end = begin + effectiveGroup(k, group);
        bool finiteGroup = true;
        for (uint64_t i = begin; i < end && i < k; ++i) {
          finiteGroup &= std::isfinite(x[size_t(r) * k + i]);
          amax = std::max(amax, std::fabs(x[size_t(r) * k + i]));
        }
        for (uint64_t i = begin; i < end; ++i) {
          int q = int8_t(row[i]);
          expected += q;
          if (i < k && finiteGroup && amax > 1e-36f)
            ASSERT_NEAR(double(q), double(x[size_t(r) * k + i]) / (amax / 127.0), 0.5001);
          else
            ASSERT_EQ(q, 0);
        }
        ASSERT_EQ(sum, expected);
        ASSERT_EQ(std::isnan(scale), !finiteGroup);
        if (finiteGroup && amax > 1e-36f)
          ASSERT_EQ(scale, amax / 127.0f);
      }
  }
}
