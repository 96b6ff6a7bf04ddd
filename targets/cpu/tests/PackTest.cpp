//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Packing: layouts, round trips, the error of the quantizers, independence of the row blocks; the ISA forms' dispatch.
//
#include "targets/cpu/tests/TestSupport.h"

#include <cmath>
#include <cstring>

using namespace mlc;
using namespace mlc::cpu;
using namespace mlc::test;
using fb::WeightFormat;

#if defined(__x86_64__)
constexpr bool kIsaIs86 = true;
#else
constexpr bool kIsaIs86 = false;
#endif

static std::vector<uint8_t> pack(const fb::WeightDesc &desc, const std::vector<float> &rows) {
  std::vector<uint8_t> out(*packedBytes(desc));
  EXPECT_TRUE(packRows(desc, 0, desc.n(), rows.data(), out.data()));
  return out;
}

static std::vector<float> unpack(const fb::WeightDesc &desc, const std::vector<uint8_t> &packed) {
  std::vector<float> rows(desc.n() * desc.k());
  for (uint64_t row = 0; row < desc.n(); ++row)
    unpackRow(desc, packed.data(), row, rows.data() + row * desc.k());
  return rows;
}

static double relativeError(const std::vector<float> &a, const std::vector<float> &b) {
  double error = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (double(a[i]) - double(b[i])) * (double(a[i]) - double(b[i]));
    size += double(b[i]) * double(b[i]);
  }
  return std::sqrt(error / size);
}

TEST(Pack, FloatsRoundTripExactly) {
  Random random(61);
  for (WeightFormat format : {WeightFormat::rows_f32, WeightFormat::rows_f16, WeightFormat::rows_bf16, WeightFormat::panel_f32,
                              WeightFormat::panel_f16, WeightFormat::panel_bf16}) {
    fb::WeightDesc desc(37, 53, 0, format, false);
    std::vector<float> rows = normals(random, 37 * 53);
    // Values that every type holds.
    for (float &value : rows)
      value = std::nearbyint(value * 32) / 32;
    EXPECT_TRUE(sameBits(unpack(desc, pack(desc, rows)), rows)) << fb::EnumNameWeightFormat(format);
  }
}

TEST(Pack, QuantizationErrorIsSmall) {
  Random random(67);
  struct {
    WeightFormat format;
    uint32_t group;
    bool asymmetric;
    double bound;
  } cases[] = {{WeightFormat::panel_int8, 128, false, 0.0075}, {WeightFormat::panel_int8, 0, false, 0.0095},
               {WeightFormat::panel_int4, 128, false, 0.117},  {WeightFormat::panel_int4, 32, false, 0.089},
               {WeightFormat::panel_int4, 128, true, 0.116},   {WeightFormat::panel_int4, 32, true, 0.081}};
  std::vector<float> rows = normals(random, 48 * 896, 0.02f);
  for (auto &c : cases) {
    fb::WeightDesc desc(48, 896, c.group, c.format, c.asymmetric);
    double error = relativeError(unpack(desc, pack(desc, rows)), rows);
    RecordProperty(std::to_string(c.group) + fb::EnumNameWeightFormat(c.format), std::to_string(error));
    EXPECT_LT(error, c.bound) << fb::EnumNameWeightFormat(c.format) << " " << c.group << " " << c.asymmetric;
    EXPECT_GT(error, c.bound / 2);
  }
  // A shifted group costs a symmetric form bits, not an asymmetric one.
  for (float &value : rows)
    value += 0.1f;
  fb::WeightDesc symmetric(48, 896, 32, WeightFormat::panel_int4, false), asymmetric(48, 896, 32, WeightFormat::panel_int4, true);
  EXPECT_LT(relativeError(unpack(asymmetric, pack(asymmetric, rows)), rows), 0.5 * relativeError(unpack(symmetric, pack(symmetric, rows)), rows));
}

TEST(Pack, ExtremeWeights) {
  for (float size : {1e-38f, 1e-34f, 1e-20f, 1e20f, 3e38f})
    for (WeightFormat format : {WeightFormat::panel_int8, WeightFormat::panel_int4}) {
      Random random(71);
      fb::WeightDesc desc(3, 64, 32, format, false);
      std::vector<float> rows = normals(random, 3 * 64, 0.3f);
      for (float &value : rows)
        value = std::clamp(value, -1.0f, 1.0f) * size;
      std::vector<float> got = unpack(desc, pack(desc, rows));
      if (size > 1e-35f)
        EXPECT_LT(relativeError(got, rows), 0.15) << size;
      else
        for (float value : got)
          EXPECT_EQ(value, 0.0f);
    }
  for (float value : {0.0f, 1.0f, -3.0f})
    for (bool asymmetric : {false, true}) {
      fb::WeightDesc desc(2, 40, 32, WeightFormat::panel_int4, asymmetric);
      std::vector<float> rows(80, value);
      for (float got : unpack(desc, pack(desc, rows)))
        EXPECT_NEAR(got, value, 0.004 * std::fabs(value));
    }
  fb::WeightDesc desc(1, 32, 32, WeightFormat::panel_int4, false);
  std::vector<uint8_t> out(*packedBytes(desc));
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> rows(32, 1.0f);
    rows[31] = bad;
    EXPECT_FALSE(packRows(desc, 0, 1, rows.data(), out.data()));
  }
}

TEST(Pack, RowBlocksGiveTheSameBytes) {
  Random random(73);
  for (auto [format, group] : {std::pair{WeightFormat::panel_int4, 64u}, {WeightFormat::panel_int8, 0u}, {WeightFormat::panel_f16, 0u}, {WeightFormat::rows_f16, 0u}}) {
    fb::WeightDesc desc(53, 70, group, format, false);
    std::vector<float> rows = normals(random, 53 * 70);
    std::vector<uint8_t> whole = pack(desc, rows), parts(whole.size());
    for (uint64_t row = 0; row < 53; row += 16) {
      uint64_t end = std::min<uint64_t>(53, row + 16);
      ASSERT_TRUE(packRows(desc, row, end, rows.data() + row * 70, parts.data() + packedOffset(desc, row)));
    }
    EXPECT_EQ(whole, parts);
  }
}

TEST(Pack, Groups) {
  EXPECT_EQ(chooseGroup(896, 128), 128u);
  EXPECT_EQ(chooseGroup(960, 128), 64u);
  EXPECT_EQ(chooseGroup(4896, 128), 32u);
  EXPECT_EQ(chooseGroup(4896, 64), 32u);
  EXPECT_EQ(chooseGroup(37, 128), 128u);
  EXPECT_EQ(quantizedRowBytes(896, 128), 896u + 64);
  EXPECT_EQ(quantizedRowBytes(37, 32), 64u + 64);
}

TEST(Isa, DispatchTakesTheNearestBelow) {
  EXPECT_EQ(findKernel(cpuTarget(), "linear", 1, Isa::avx2)->isa, kIsaIs86 ? Isa::avx2 : Isa::portable);
  EXPECT_EQ(findKernel(cpuTarget(), "copy", 1, Isa::avx512vnni)->isa, Isa::portable);
  EXPECT_EQ(findKernel(cpuTarget(), "linear", 2, Isa::portable), nullptr);
  EXPECT_EQ(findKernel(cpuTarget(), "linea", 1, Isa::portable), nullptr);
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512vnni})
    EXPECT_EQ(*parseIsa(isaName(isa)), isa);
  EXPECT_FALSE(bool(parseIsa("avx")));
  EXPECT_EQ(limitedIsa(Isa::portable), Isa::portable);
}
