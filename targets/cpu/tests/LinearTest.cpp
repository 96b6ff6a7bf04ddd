//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear and quantize_rows: every format and form against double sums, batch invariance, equality of integer forms.
//
#include "targets/cpu/tests/LinearSupport.h"

using namespace mlc;
using namespace mlc::cpu;
using namespace mlc::test;
using fb::WeightFormat;

namespace {

/// Dequantized values of quantized rows.
std::vector<float> dequantized(const Tensor &rows, uint64_t k, uint32_t group) {
  std::vector<float> values;
  for (int64_t r = 0; r < rows.view.dims[0]; ++r) {
    const uint8_t *row = rows.view.row<uint8_t>(r);
    for (uint64_t i = 0; i < k; ++i) {
      float scale;
      memcpy(&scale, row + QuantizedRow(k, group, 0).scalesOffset + 4 * (i / effectiveGroup(k, group)), 4);
      values.push_back(float(int8_t(row[i])) * scale);
    }
  }
  return values;
}

/// bf16 products as tiles add them: in blocks of 32 columns those of even and of odd columns apart.
std::vector<float> inTileOrder(const LinearCase &linear, const std::vector<float> &x) {
  uint64_t n = linear.weight.desc.n(), k = linear.weight.desc.k();
  std::vector<float> out(x.size() / k * n);
  for (uint64_t i = 0; i < out.size(); ++i) {
    const float *row = x.data() + i / n * k, *weight = linear.weight.values.data() + i % n * k;
    float sum = 0;
    for (uint64_t begin = 0; begin < k; begin += 32) {
      float sums[2] = {0, 0};
      for (uint64_t c = begin; c < std::min(k, begin + 32); ++c)
        sums[c % 2] = std::fma(row[c], weight[c], sums[c % 2]);
      sum = sum + (sums[0] + sums[1]);
    }
    sum = linear.bias ? sum + (*linear.bias)[i % n] : sum;
    out[i] = linear.residual ? sum + (*linear.residual)[i] : sum;
  }
  return out;
}

void expectNear(const std::vector<float> &got, const Weight &weight, const std::vector<float> &x, int64_t rows,
                const std::vector<float> *bias, const std::vector<float> *residual, const char *what) {
  uint64_t n = weight.desc.n(), k = weight.desc.k();
  // Scale and offset of a group cancel.
  double cancelled = isBlockPanel(weight.desc.format()) ? 16 : weight.desc.asymmetric() ? 8 : 1;
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
      ASSERT_NEAR(got[size_t(r) * n + c], sum, cancelled * 1e-7 * (4 + std::sqrt(double(k))) * size + 1e-30)
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
      uint64_t n = uint64_t(uniform(random, 1, 70)), k = uint64_t(uniform(random, 1, 600)),
               rows = uint64_t(uniform(random, 1, 20));
      k = columnsFor(format, k);
      Weight weight(random, format, n, k);
      std::vector<float> x = normals(random, rows * k), bias = normals(random, n), residual = normals(random, rows * n);
      LinearCase linear{weight, x, trial & 1 ? &bias : nullptr, trial ? &residual : nullptr, uniform(random, 0, 3)};
      for (Isa isa : forms()) {
        std::vector<float> got = linear.run(0, int64_t(rows), isa, 1), source = x;
        if (isQuantized(format.format))
          source = dequantized(quantize(Tensor::matrix(x, int64_t(rows), int64_t(k)), k, groupsOf(weight.desc), isa), k,
                               groupsOf(weight.desc).group);
        expectNear(got, weight, source, int64_t(rows), linear.bias, linear.residual,
                   (std::string(isaName(isa)) + " " + fb::EnumNameWeightFormat(format.format)).c_str());
        if (format.format == WeightFormat::panel_bf16) {
          LinearCase rounded = linear;
          rounded.bf16 = true;
          for (float &value : source)
            value = bf16ToF32(f32ToBf16(value));
          std::vector<float> products = rounded.run(0, int64_t(rows), isa, 2);
          expectNear(products, weight, source, int64_t(rows), linear.bias, linear.residual,
                     (std::string(isaName(isa)) + " bf16 products").c_str());
          EXPECT_TRUE(sameBits(products, usesTiles(isa) ? inTileOrder(rounded, source)
                                                        : rounded.run(0, int64_t(rows), Isa::portable, 1)))
              << isaName(isa);
        }
        if (HasFatalFailure())
          return;
      }
    }
}

// A row alone, in any batch, on any number of threads: the same bits.
TEST(Linear, BatchInvariance) {
  Random random(11);
  for (int index = 0; index <= int(std::size(kFormats)); ++index) {
    bool bf16 = index == int(std::size(kFormats));
    const Format format = bf16 ? Format{WeightFormat::panel_bf16} : kFormats[index];
    uint64_t n = uint64_t(uniform(random, 20, 90)), k = columnsFor(format, uint64_t(uniform(random, 30, 1100)));
    int64_t rows = 64;
    Weight weight(random, format, n, k);
    std::vector<float> x = normals(random, size_t(rows) * k), bias = normals(random, n);
    LinearCase linear{weight, x, &bias};
    linear.bf16 = bf16;
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

// A row alone meets several panels at once where that is faster, and some are left: the bits that it has in a batch.
TEST(Linear, OneRowAndSeveralPanels) {
  Random random(19);
  for (const Format &format : kFormats) {
    if (!isQuantized(format.format))
      continue;
    for (int trial = 0; trial < trials(4); ++trial) {
      // More groups of 32 than wait for their factors, of one panel and of several.
      uint64_t n = uint64_t(uniform(random, 49, 150)),
               k = columnsFor(format, uint64_t(trial == 0 ? 8300 : uniform(random, 1, 2600)));
      Weight weight(random, format, n, k);
      std::vector<float> x = normals(random, 3 * k), bias = normals(random, n), residual = normals(random, 3 * n);
      LinearCase linear{weight, x, trial & 1 ? &bias : nullptr, trial & 2 ? &residual : nullptr};
      for (Isa isa : forms()) {
        std::vector<float> batch = linear.run(0, 3, isa, 1);
        for (int64_t r = 0; r < 3; ++r) {
          std::vector<float> expected(batch.begin() + r * int64_t(n), batch.begin() + (r + 1) * int64_t(n));
          ASSERT_TRUE(sameBits(linear.run(r, r + 1, isa, 1 + unsigned(r)), expected))
              << fb::EnumNameWeightFormat(format.format) << " " << isaName(isa) << " n " << n << " k " << k;
        }
      }
    }
  }
}

// Rows that tiles hold at once meet several panels together, and some are left: the bits that they have in a batch that
// they do not fit.
TEST(Linear, FewRowsAndSeveralPanels) {
  Random random(31);
  for (Format format : {Format{WeightFormat::panel_int4, 128}, Format{WeightFormat::panel_int8, 128}})
    for (int trial = 0; trial < trials(6); ++trial) {
      // Once more groups than there is room for the scales of two tiles' rows; once panels that are whole pages apart.
      uint64_t n = uint64_t(trial == 1 ? 16 * 8 * 8 : uniform(random, 20, 300)),
               k = uint64_t(trial == 0   ? 128 * 97
                            : trial == 1 ? 2048
                                         : uniform(random, 1, 1500));
      constexpr int64_t kRows = 41;
      Weight weight(random, format, n, k);
      std::vector<float> x = normals(random, kRows * k), bias = normals(random, n),
                         residual = normals(random, kRows * n);
      LinearCase linear{weight, x, trial & 1 ? &bias : nullptr, trial & 2 ? &residual : nullptr};
      for (Isa isa : forms()) {
        std::vector<float> batch = linear.run(0, kRows, isa, 1);
        for (int64_t rows : {int64_t(2), int64_t(5), uniform(random, 6, 15), int64_t(16), int64_t(17),
                             uniform(random, 18, 31), int64_t(32), int64_t(33)}) {
          const int64_t begin = uniform(random, 0, kRows - rows);
          std::vector<float> expected(batch.begin() + begin * int64_t(n), batch.begin() + (begin + rows) * int64_t(n));
          ASSERT_TRUE(sameBits(linear.run(begin, begin + rows, isa, 1 + unsigned(rows % 3)), expected))
              << fb::EnumNameWeightFormat(format.format) << " " << isaName(isa) << " n " << n << " k " << k << " rows "
              << rows;
        }
      }
    }
}

/// Element `index` of f16 values.
static float halfAt(const uint8_t *values, uint64_t index) {
  uint16_t bits;
  memcpy(&bits, values + 2 * index, 2);
  return f16ToF32(bits);
}

TEST(Linear, IntegerFormsAreBitwiseEqual) {
  Random random(17);
  for (const Format &format : kFormats) {
    if (!isQuantized(format.format))
      continue;
    for (int trial = 0; trial < 6; ++trial) {
      uint64_t n = uint64_t(uniform(random, 1, 60)), k = columnsFor(format, uint64_t(uniform(random, 1, 700)));
      // Up to a tile's 16 rows, and more than the 32 of two.
      int64_t rows = trial < 3 ? uniform(random, 1, 17) : uniform(random, 18, 70);
      fb::WeightDesc desc(n, k, format.group, format.format, format.asymmetric);
      QuantizedRow layoutOfX = quantizedRow(desc);
      // Every byte of weight and activation, extremes included; finite scales.
      std::vector<uint8_t> packed(*packedBytes(desc));
      for (uint8_t &byte : packed)
        byte = trial == 0 ? 0xff : trial == 1 ? 0 : uint8_t(random());
      PanelLayout layout = panelLayout(desc);
      const BlockShape *shape = isBlockPanel(format.format) ? &blockShape(blockOfPanel(format.format)) : nullptr;
      const bool offsets = format.asymmetric || (shape && shape->offsets), super = shape && shape->super;
      uint64_t halves = super ? 1 : layout.groups, blockGroups = layout.blockColumns / layout.group;
      for (uint8_t *block = packed.data(); block < packed.data() + packed.size(); block += layout.blockBytes) {
        for (uint64_t i = 0; i < halves * kPanel; ++i) {
          // Of bf16 and of f16 finite and not subnormal.
          uint16_t scale = uint16_t(0x3c00 + random() % 256), offset = uint16_t(0xbc00 + random() % 256);
          memcpy(block + layout.scalesOffset + 2 * i, &scale, 2);
          if (offsets && !format.asymmetric)
            memcpy(block + layout.offsetsOffset + 2 * i, &offset, 2);
        }
        // Integer factors have the bits that GGUF's blocks give them.
        for (uint64_t i = 0; super && i < blockGroups * kPanel; ++i) {
          uint8_t &scale = block[layout.subScalesOffset + i];
          if (format.format == WeightFormat::panel_q3_k)
            scale = uint8_t(int8_t(scale) >> 2);
          else if (format.format != WeightFormat::panel_q6_k)
            scale &= format.format == WeightFormat::panel_q2_k ? 0x0f : 0x3f;
          if (offsets)
            block[layout.subOffsetsOffset + i] &= format.format == WeightFormat::panel_q2_k ? 0x0f : 0x3f;
        }
      }
      Tensor weight = Tensor::bytes(packed);
      Tensor x(DType::u8, {rows, int64_t(layoutOfX.bytes)});
      for (int64_t r = 0; r < rows; ++r) {
        uint8_t *row = x.view.row<uint8_t>(r);
        // quantize_rows gives -127 to 127.
        for (uint64_t i = 0; i < layoutOfX.columns; ++i)
          row[i] = i >= k ? 0 : trial < 2 ? 0x81 : trial == 2 ? 0x7f : uint8_t(std::max(int(int8_t(random())), -127));
        for (uint64_t s = 0; s < layoutOfX.columns / layoutOfX.sumGroup; ++s) {
          int32_t sum = 0;
          for (uint64_t i = s * layoutOfX.sumGroup; i < (s + 1) * layoutOfX.sumGroup; ++i)
            sum -= int8_t(row[i]);
          memcpy(row + layoutOfX.sumsOffset + 4 * s, &sum, 4);
        }
        for (uint64_t g = 0; g < layoutOfX.groups; ++g) {
          float scale = 0.01f + float(random() % 100);
          memcpy(row + layoutOfX.scalesOffset + 4 * g, &scale, 4);
        }
      }
      fb::LinearAttrs attrs(desc, true, false, false, false, fb::Activation::none, 0, 0, false);
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
          float acc = 0, part = 0, offsetPart = 0;
          int64_t products = 0, offsetProducts = 0;
          for (uint64_t g = 0; g < layout.groups; ++g) {
            GroupFactors factors = groupFactors(desc, layout, panel, g, c % kPanel);
            int64_t sum = 0;
            for (uint64_t i = g * layout.group; i < (g + 1) * layout.group; ++i)
              sum += (int64_t(panelCode(layout, panel, i, c % kPanel)) - (offsets ? 0 : factors.zero)) * int8_t(row[i]);
            float scale;
            int32_t negated;
            memcpy(&scale, row + layoutOfX.scalesOffset + 4 * (g * layout.group / layoutOfX.group), 4);
            memcpy(&negated, row + layoutOfX.sumsOffset + 4 * g, 4);
            bool ends = (g + 1) * layout.group % layoutOfX.group == 0;
            if (super) {
              const uint8_t *block = panel + g / blockGroups * layout.blockBytes;
              uint64_t at = g % blockGroups * kPanel + c % kPanel;
              uint8_t factor = block[layout.subScalesOffset + at];
              products += sum * (shape->signedScales ? int8_t(factor) : factor);
              if (offsets)
                offsetProducts += int64_t(negated) * block[layout.subOffsetsOffset + at];
              if (!ends)
                continue;
              part = float(int32_t(products)) * halfAt(block + layout.scalesOffset, c % kPanel);
              if (offsets)
                part = std::fma(float(offsetProducts), halfAt(block + layout.offsetsOffset, c % kPanel), part);
              acc = std::fma(part, scale, acc);
              products = offsetProducts = 0;
              continue;
            }
            float offset = format.asymmetric ? factors.scale * float(factors.zero) : factors.offset;
            if (layoutOfX.group == layout.group) {
              acc = std::fma(float(int32_t(sum)), factors.scale * scale, acc);
              if (offsets)
                acc = std::fma(offset, float(negated) * scale, acc);
              continue;
            }
            part = std::fma(float(int32_t(sum)), factors.scale, part);
            if (offsets)
              offsetPart = std::fma(offset, float(negated), offsetPart);
            if (ends) {
              acc = std::fma(part + offsetPart, scale, acc);
              part = offsetPart = 0;
            }
          }
          ASSERT_EQ(acc, first[size_t(r) * n + c]) << fb::EnumNameWeightFormat(format.format);
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
    RowGroups wanted{group, trial % 2 ? 16u : 0u};
    QuantizedRow layout(k, group, wanted.sumGroup);
    size_t bytes = layout.bytes;
    std::vector<uint8_t> first;
    for (Isa isa : forms()) {
      Tensor out = quantize(input, k, wanted, isa, unsigned(trial % 4 + 1));
      std::vector<uint8_t> all(out.view.as<uint8_t>(), out.view.as<uint8_t>() + size_t(rows) * bytes);
      if (first.empty())
        first = all;
      ASSERT_EQ(all, first) << isaName(isa);
    }
    for (int64_t r = 0; r < rows; ++r)
      for (uint64_t g = 0; g < layout.groups; ++g) {
        const uint8_t *row = first.data() + size_t(r) * bytes;
        float scale, amax = 0;
        memcpy(&scale, row + layout.scalesOffset + 4 * g, 4);
        uint64_t begin = g * layout.group, end = begin + layout.group;
        bool finiteGroup = true;
        for (uint64_t i = begin; i < end && i < k; ++i) {
          finiteGroup &= std::isfinite(x[size_t(r) * k + i]);
          amax = std::max(amax, std::fabs(x[size_t(r) * k + i]));
        }
        for (uint64_t i = begin; i < end; ++i) {
          int q = int8_t(row[i]);
          if (i < k && finiteGroup && amax > 1e-36f)
            ASSERT_NEAR(double(q), double(x[size_t(r) * k + i]) / (amax / 127.0), 0.5001);
          else
            ASSERT_EQ(q, 0);
        }
        for (uint64_t s = begin / layout.sumGroup; s < end / layout.sumGroup; ++s) {
          int32_t sum, expected = 0;
          memcpy(&sum, row + layout.sumsOffset + 4 * s, 4);
          for (uint64_t i = s * layout.sumGroup; i < (s + 1) * layout.sumGroup; ++i)
            expected -= int8_t(row[i]);
          ASSERT_EQ(sum, expected);
        }
        ASSERT_EQ(std::isnan(scale), !finiteGroup);
        if (finiteGroup && amax > 1e-36f)
          ASSERT_EQ(scale, amax / 127.0f);
      }
  }
}

// activation(a) * b inside the product, in f32 or quantized: the bits of the kernels one after the other.
TEST(Linear, GateEqualsItsParts) {
  Random random(23);
  for (const Format &format :
       {Format{WeightFormat::panel_int4, 128}, Format{WeightFormat::panel_int4, 32, true},
        Format{WeightFormat::panel_int8, 64}, Format{WeightFormat::panel_int8, 128}, Format{WeightFormat::panel_q6_k}})
    for (int trial = 0; trial < trials(8); ++trial) {
      // Once enough that all workers take part, with groups of six panels.
      bool shared = trial == 4;
      uint64_t half = 16 * uint64_t(shared ? 91 : uniform(random, 1, kEmulated ? 9 : 30));
      uint64_t k = columnsFor(format, uint64_t(uniform(random, shared ? 500 : 30, 700)));
      int64_t rows = shared ? 32 : trial % 3 == 2 ? 1 : uniform(random, 1, trial % 3 == 1 ? 60 : 9);
      Weight weight(random, format, 2 * half, k);
      std::vector<float> x = normals(random, size_t(rows) * k), bias = normals(random, 2 * half);
      RowGroups groups = trial % 2 ? RowGroups{32, 16} : trial % 4 ? RowGroups{128, 0} : RowGroups{96, 48};
      fb::Activation activation = trial % 3 ? fb::Activation::silu : fb::Activation::gelu_tanh;
      for (Isa isa : forms()) {
        std::vector<float> both = LinearCase{weight, x, trial & 1 ? &bias : nullptr}.run(0, rows, isa, 2);
        Tensor product = Tensor::matrix(both, rows, int64_t(2 * half)), gate = Tensor(), up = Tensor();
        std::vector<float> a, b;
        for (int64_t r = 0; r < rows; ++r) {
          a.insert(a.end(), both.begin() + r * int64_t(2 * half), both.begin() + r * int64_t(2 * half) + int64_t(half));
          b.insert(b.end(), both.begin() + r * int64_t(2 * half) + int64_t(half),
                   both.begin() + (r + 1) * int64_t(2 * half));
        }
        gate = Tensor::matrix(a, rows, int64_t(half));
        up = Tensor::matrix(b, rows, int64_t(half));
        Tensor expected(DType::f32, {rows, int64_t(half)});
        fb::GatedActivationAttrs gatedAttrs(activation);
        Call gated("gated_activation", gatedAttrs);
        gated.inputs = {&gate, &up};
        gated.outputs = {&expected};
        gated.run(isa);
        Tensor rowsOfX = quantize(Tensor::matrix(x, rows, int64_t(k)), k, groupsOf(weight.desc), isa);
        Tensor biasTensor = Tensor::vector(bias);
        for (bool quantized : {false, true}) {
          fb::LinearAttrs attrs(weight.desc, true, trial & 1, false, true, activation, quantized ? groups.group : 0,
                                quantized ? groups.sumGroup : 0, false);
          QuantizedRow layout(half, groups.group, groups.sumGroup);
          Tensor out(quantized ? DType::u8 : DType::f32, {rows, int64_t(quantized ? layout.bytes : half)});
          Call call("linear", attrs);
          call.inputs = {&rowsOfX, &weight.packed};
          call.tokens = {true, false};
          if (trial & 1) {
            call.inputs.push_back(&biasTensor);
            call.tokens.push_back(false);
          }
          call.outputs = {&out};
          call.run(isa, 3);
          if (!quantized) {
            ASSERT_TRUE(sameBits(out.values(), expected.values())) << isaName(isa);
            continue;
          }
          Tensor wanted = quantize(expected, half, groups, isa);
          for (int64_t r = 0; r < rows; ++r) {
            ASSERT_EQ(memcmp(out.view.row<uint8_t>(r), wanted.view.row<uint8_t>(r), layout.columns), 0) << isaName(isa);
            uint64_t end = layout.sumsOffset + 4 * (layout.columns / layout.sumGroup);
            ASSERT_EQ(memcmp(out.view.row<uint8_t>(r) + layout.scalesOffset,
                             wanted.view.row<uint8_t>(r) + layout.scalesOffset, end - layout.scalesOffset),
                      0);
          }
        }
      }
    }
}
