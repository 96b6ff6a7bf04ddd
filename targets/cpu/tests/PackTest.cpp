//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Packing: layouts, round trips, the error of the quantizers, independence of the row blocks; the ISA forms' dispatch.
//
#include "runtime/core/BlockFormats.h"
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
  for (WeightFormat format : {WeightFormat::rows_f32, WeightFormat::rows_f16, WeightFormat::rows_bf16,
                              WeightFormat::panel_f32, WeightFormat::panel_f16, WeightFormat::panel_bf16}) {
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
  fb::WeightDesc symmetric(48, 896, 32, WeightFormat::panel_int4, false),
      asymmetric(48, 896, 32, WeightFormat::panel_int4, true);
  EXPECT_LT(relativeError(unpack(asymmetric, pack(asymmetric, rows)), rows),
            0.5 * relativeError(unpack(symmetric, pack(symmetric, rows)), rows));
}

TEST(Pack, ExtremeWeights) {
#if defined(__arm__)
  constexpr float kLargest = 1e37f; // The compiler packs, on 64 bits; NEON of 32 takes 1 / 3e38 for 0.
#else
  constexpr float kLargest = 3e38f;
#endif
  for (float size : {1e-38f, 1e-34f, 1e-20f, 1e20f, kLargest})
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

/// The error with each column's square weighed.
static double weightedError(const std::vector<float> &got, const std::vector<float> &want, uint64_t k,
                            const std::vector<float> &importance) {
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    double difference = double(got[i]) - double(want[i]), weight = importance[i % k];
    error += weight * difference * difference;
    size += weight * double(want[i]) * double(want[i]);
  }
  return std::sqrt(error / size);
}

static std::vector<uint8_t> packWeighted(const fb::WeightDesc &desc, const std::vector<float> &rows,
                                         const std::vector<float> &importance) {
  std::vector<uint8_t> out(*packedBytes(desc));
  EXPECT_TRUE(packRows(desc, 0, desc.n(), rows.data(), out.data(), importance.data()));
  return out;
}

TEST(Pack, ImportanceMovesTheErrorToWhereItCostsLess) {
  Random random(79);
  constexpr uint64_t n = 32, k = 300; // A padded tail, too.
  std::vector<float> rows = normals(random, n * k, 0.02f), importance = normals(random, k);
  for (float &value : importance)
    value = std::exp(2 * value);
  for (bool asymmetric : {false, true})
    for (uint32_t group : {32u, 128u}) {
      fb::WeightDesc desc(n, k, group, WeightFormat::panel_int4, asymmetric);
      std::vector<float> plain = unpack(desc, pack(desc, rows)),
                         weighted = unpack(desc, packWeighted(desc, rows, importance));
      EXPECT_LT(weightedError(weighted, rows, k, importance), 0.9 * weightedError(plain, rows, k, importance));
      EXPECT_LT(relativeError(plain, rows), relativeError(weighted, rows));
    }
  // Columns that never see anything, and all alike, are as no importance.
  for (WeightFormat format : {WeightFormat::panel_int4, WeightFormat::panel_int8}) {
    fb::WeightDesc desc(n, k, 128, format, false);
    for (float same : {0.0f, 1e-4f, 1.0f, 1e30f})
      if (same == 0 || same == 1)
        EXPECT_EQ(packWeighted(desc, rows, std::vector<float>(k, same)), pack(desc, rows));
      else
        EXPECT_LT(relativeError(unpack(desc, packWeighted(desc, rows, std::vector<float>(k, same))), rows),
                  1.001 * relativeError(unpack(desc, pack(desc, rows)), rows))
            << same;
  }
}

// No scale that bf16 holds has an error that is noticeably smaller.
TEST(Pack, SearchIsNearTheBestScale) {
  Random random(83);
  constexpr uint64_t n = 16, k = 128;
  std::vector<float> rows = normals(random, n * k, 0.02f);
  fb::WeightDesc desc(n, k, 128, WeightFormat::panel_int4, false);
  std::vector<float> got = unpack(desc, pack(desc, rows));
  double found = 0, best = 0;
  for (uint64_t row = 0; row < n; ++row) {
    const float *values = rows.data() + row * k;
    double least = INFINITY;
    for (uint32_t bits = std::bit_cast<uint32_t>(0.001f) >> 16; bits < std::bit_cast<uint32_t>(0.02f) >> 16; ++bits)
      for (float sign : {1.0f, -1.0f}) {
        float scale = sign * std::bit_cast<float>(bits << 16);
        double error = 0;
        for (uint64_t i = 0; i < k; ++i) {
          double q = std::clamp(std::nearbyint(values[i] / scale), -8.0f, 7.0f);
          error += (values[i] - q * scale) * (values[i] - q * scale);
        }
        least = std::min(least, error);
      }
    best += least;
    for (uint64_t i = 0; i < k; ++i)
      found += double(got[row * k + i] - values[i]) * double(got[row * k + i] - values[i]);
  }
  EXPECT_LT(found, 1.005 * best);
  EXPECT_GE(found, 0.9999 * best);
}

TEST(Pack, RowBlocksGiveTheSameBytes) {
  Random random(73);
  for (auto [format, group] : {std::pair{WeightFormat::panel_int4, 64u},
                               {WeightFormat::panel_int8, 0u},
                               {WeightFormat::panel_f16, 0u},
                               {WeightFormat::rows_f16, 0u}}) {
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

// 64 blocks of bytes from a linear congruence; the digests (FNV-1a of the f32 values' bytes) are of the values that the
// gguf package's own dequantize() gives.
TEST(Pack, BlocksAreExact) {
  struct {
    WeightFormat format;
    std::vector<size_t> scales;
    uint64_t digest;
  } cases[] = {
      {WeightFormat::block_q4_0, {0}, 0x98b1ca09288ca6a4},    {WeightFormat::block_q4_1, {0, 2}, 0xd06a015fe7f8f23f},
      {WeightFormat::block_q5_0, {0}, 0xbd4212d5602c0289},    {WeightFormat::block_q5_1, {0, 2}, 0xf37efe7256f2e424},
      {WeightFormat::block_q8_0, {0}, 0xca9de5cc0f6d0102},    {WeightFormat::block_q2_k, {80, 82}, 0x4446f625df6b160b},
      {WeightFormat::block_q3_k, {108}, 0xfd5c04894bb09b22},  {WeightFormat::block_q4_k, {0, 2}, 0xfa8264eab1612c8d},
      {WeightFormat::block_q5_k, {0, 2}, 0x34e497f7d7a24c1e}, {WeightFormat::block_q6_k, {208}, 0x5f0cd003c779945a}};
  for (auto &c : cases) {
    size_t blockSize = blockBytes(c.format);
    std::vector<uint8_t> bytes(64 * blockSize);
    uint32_t state = 12345 + uint32_t(c.format);
    for (uint8_t &byte : bytes) {
      state = state * 1664525u + 1013904223u;
      byte = uint8_t(state >> 24);
    }
    for (size_t block = 0; block < 64; ++block)
      for (size_t at : c.scales)
        bytes[block * blockSize + at + 1] &= 0xbf; // Finite scales.
    std::vector<float> values(64 * blockElements(c.format));
    dequantizeBlocks(c.format, bytes.data(), 64, values.data());
    uint64_t digest = 14695981039346656037ull;
    for (float value : values)
      for (int i = 0; i < 4; ++i)
        digest = (digest ^ (std::bit_cast<uint32_t>(value) >> (8 * i) & 255)) * 1099511628211ull;
    EXPECT_EQ(digest, c.digest) << fb::EnumNameWeightFormat(c.format);
  }
}

TEST(Pack, Groups) {
  EXPECT_EQ(chooseGroup(896, 128), 128u);
  EXPECT_EQ(chooseGroup(960, 128), 64u);
  EXPECT_EQ(chooseGroup(4896, 128), 32u);
  EXPECT_EQ(chooseGroup(4896, 64), 32u);
  EXPECT_EQ(chooseGroup(37, 128), 128u);
  EXPECT_EQ(QuantizedRow(896, 128, 0).bytes, 896u + 64);
  EXPECT_EQ(QuantizedRow(37, 32, 0).bytes, 64u + 64);
}

TEST(Isa, DispatchTakesTheNearestBelow) {
  EXPECT_EQ(findKernel(cpuTarget(), "linear", 1, Isa::avx2)->isa, kIsaIs86 ? Isa::avx2 : Isa::portable);
  EXPECT_EQ(findKernel(cpuTarget(), "copy", 1, Isa::avx512vnni)->isa, Isa::portable);
  EXPECT_EQ(findKernel(cpuTarget(), "linear", 2, Isa::portable), nullptr);
  EXPECT_EQ(findKernel(cpuTarget(), "linea", 1, Isa::portable), nullptr);
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avxvnni, Isa::avx512vnni, Isa::avx512bf16, Isa::amx, Isa::dotprod,
                  Isa::i8mm, Isa::bf16})
    EXPECT_EQ(*parseIsa(isaName(isa)), isa);
  EXPECT_FALSE(bool(parseIsa("avx")));
  EXPECT_EQ(limitedIsa(Isa::portable), Isa::portable);
}
