//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention over pages under the emulator: against f64, and a row's bits in every form.
//
#include "runtime/core/Float16.h"
#include "targets/cuda/device/Args.h"
#include "targets/cuda/tests/Launch.h"

#include <gtest/gtest.h>

using namespace mlc;
using namespace mlc::cuda;

extern "C" {
void mlc_attention_f32(const AttentionArgs &args);
void mlc_attention_bf16(const AttentionArgs &args);
void mlc_attention_row_64(const AttentionArgs &args);
void mlc_attention_row_128(const AttentionArgs &args);
void mlc_attention_row_256(const AttentionArgs &args);
void mlc_attention_rows_64(const AttentionArgs &args);
void mlc_attention_rows_128(const AttentionArgs &args);
void mlc_attention_rows_256(const AttentionArgs &args);
void mlc_attention_join(const AttentionArgs &args);
}

namespace {

struct AttentionCase {
  int group, dim, window;
  float softcap;
};

// The forms of tensor cores: rows alone by parts of pages and in one pass, and many of them with a warp's pairs.
TEST(Attention, TensorCoresGiveARowTheSameBitsInEveryForm) {
  constexpr int kHeads = 2, kSlots = 4, kSegments = 3;
  // First positions and lengths: a prompt from the beginning, one that goes on, a row alone.
  constexpr int64_t firsts[kSegments] = {0, 50, 200};
  constexpr int lengths[kSegments] = {70, 30, 1};
  for (AttentionCase c : {AttentionCase{1, 8, 0, 0},
                          {3, 40, 0, 0},
                          {2, 64, 65, 0},
                          {4, 20, 0, 5},
                          {7, 128, 20, 0},
                          {20, 24, 0, 0},
                          {1, 200, 0, 0}}) {
    const size_t pageElements = 2 * kHeads * kPage * size_t(c.dim);
    std::vector<float> values = seeded(5 * pageElements, 15);
    std::vector<uint16_t> pool(values.size());
    for (size_t i = 0; i < pool.size(); ++i)
      pool[i] = f32ToBf16(values[i]);
    std::vector<uint32_t> tables = {3, 2, 9, 9, 1, 2, 9, 9, 0, 3, 1, 4};
    std::vector<int32_t> position, segment;
    for (int s = 0; s < kSegments; ++s)
      for (int i = 0; i < lengths[s]; ++i) {
        position.push_back(int32_t(firsts[s] + i));
        segment.push_back(s);
      }
    const auto rows = int(position.size()), columns = kHeads * c.group * c.dim;
    // Nobody has written behind a sequence's last position.
    auto element = [&](int s, int64_t p, bool value, int head, int d) -> uint16_t & {
      return pool[tables[size_t(s * kSlots + p / kPage)] * pageElements +
                  size_t(((value * kHeads + head) * kPage + p % kPage) * c.dim + d)];
    };
    for (int head = 0; head < kHeads; ++head)
      for (int64_t p = 201; p < 256; ++p)
        for (int d = 0; d < c.dim; ++d)
          element(2, p, true, head, d) = element(2, p, false, head, d) = 0x7fff;
    std::vector<float> q = seeded(size_t(rows * columns), 16);
    AttentionArgs args{};
    args.step = {position.data(), segment.data(), nullptr};
    args.kv = {reinterpret_cast<uint8_t *>(pool.data()),
               tables.data(),
               int64_t(pageElements * 2),
               kSlots,
               kHeads,
               c.dim,
               Storage::bf16};
    args.q = {q.data(), columns};
    args.rows = rows;
    args.group = c.group;
    args.window = c.window;
    args.scale = 0.3f;
    args.softcap = c.softcap;
    args.bf16 = true;
    using Kernel = void (*)(const AttentionArgs &);
    static constexpr Kernel row[] = {mlc_attention_row_64, mlc_attention_row_128, mlc_attention_row_256},
                            many[] = {mlc_attention_rows_64, mlc_attention_rows_128, mlc_attention_rows_256};
    const int form = c.dim <= 64 ? 0 : c.dim <= 128 ? 1 : 2;
    const auto shared = unsigned(attentionTileBytes(64 << form));
    std::vector<float> alone(size_t(rows * columns), NAN), split = alone, tiled = alone, plain = alone;
    auto into = [&](std::vector<float> &out) {
      args.out = {out.data(), columns};
      return args;
    };
    launch(row[form], {1, kHeads, unsigned(rows)}, 128, into(alone), shared);
    launch(many[form], {blocks(rows, kPage / c.group), kHeads, 1}, 128 * unsigned(attentionHalves(64 << form)),
           into(tiled), shared);
    launch(mlc_attention_bf16, {1, kHeads, unsigned(rows)}, 128, into(plain));
    std::vector<float> parts(size_t(rows * kHeads * c.group * kSlots * (2 + c.dim)), NAN);
    args.parts = parts.data();
    args.chunks = kSlots;
    launch(row[form], {kSlots, kHeads, unsigned(rows)}, 128, into(split), shared);
    launch(mlc_attention_join, {1, unsigned(kHeads * c.group), unsigned(rows)}, 128, into(split));
    ASSERT_EQ(0, memcmp(split.data(), alone.data(), alone.size() * sizeof(float))) << c.group << ", " << c.dim;
    ASSERT_EQ(0, memcmp(tiled.data(), alone.data(), alone.size() * sizeof(float))) << c.group << ", " << c.dim;
    // The plain form rounds the same operands, but to another sum of scores: an exponential can round to its neighbour.
    for (size_t i = 0; i < alone.size(); ++i)
      ASSERT_NEAR(alone[i], plain[i], 4e-3) << i << " of " << c.group << ", " << c.dim;
    // What is not a number at a later position reaches no earlier row.
    args.parts = nullptr;
    element(1, 60, true, 0, c.dim - 1) = 0x7f80;
    element(1, 60, false, 1, 0) = 0x7fc0;
    std::vector<float> broken = tiled;
    launch(many[form], {blocks(rows, kPage / c.group), kHeads, 1}, 128 * unsigned(attentionHalves(64 << form)),
           into(broken), shared);
    for (int r = 0; r < rows; ++r) {
      const bool sees =
          segment[size_t(r)] == 1 && position[size_t(r)] >= 60 && (!c.window || position[size_t(r)] < 60 + c.window);
      const bool same =
          !memcmp(&broken[size_t(r * columns)], &tiled[size_t(r * columns)], size_t(columns) * sizeof(float));
      // Their first page is the third sequence's third one.
      const bool shares = segment[size_t(r)] == 2;
      ASSERT_EQ(same, !sees && !shares) << "row " << r << " of " << c.group << ", " << c.dim;
      // The last column of one KV head's values, and the scores of the other one.
      for (int i = c.dim - 1; sees && i < columns; i += i < columns / 2 - 1 ? c.dim : 1)
        ASSERT_FALSE(std::isfinite(broken[size_t(r * columns + i)]))
            << "row " << r << " of " << c.group << ", " << c.dim;
    }
  }
}

TEST(Attention, PagesInPartsGiveTheBitsOfOnePassAndAgreeWithF64) {
  constexpr int kHeads = 2, kRows = 3, kSlots = 4;
  constexpr int64_t positions[kRows] = {0, 70, 200};
  for (AttentionCase c : {AttentionCase{1, 8, 0, 0}, {3, 40, 0, 0}, {2, 64, 65, 0}, {4, 16, 0, 5}}) {
    size_t pageFloats = 2 * kHeads * kPage * size_t(c.dim);
    std::vector<float> pool = seeded(kSlots * pageFloats, 5);
    // Each row is a segment of its own; pages lie in another order than positions.
    std::vector<uint32_t> tables = {3, 9, 9, 9, 1, 2, 9, 9, 0, 3, 1, 2};
    int columns = kHeads * c.group * c.dim;
    std::vector<float> q = seeded(size_t(kRows * columns), 6), out(size_t(kRows * columns), NAN), whole = out;
    std::vector<float> parts(size_t(kRows * kHeads * c.group * kSlots * (2 + c.dim)));
    std::vector<int32_t> position(positions, positions + kRows), segment = {0, 1, 2};
    AttentionArgs args{};
    args.step = {position.data(), segment.data(), nullptr};
    args.kv = {reinterpret_cast<uint8_t *>(pool.data()),
               tables.data(),
               int64_t(pageFloats * 4),
               kSlots,
               kHeads,
               c.dim,
               Storage::f32};
    args.q = {q.data(), columns};
    args.out = {whole.data(), columns};
    args.group = c.group;
    args.window = c.window;
    args.scale = 0.3f;
    args.softcap = c.softcap;
    launch(mlc_attention_f32, {1, kHeads, kRows}, 128, args);
    args.parts = parts.data();
    args.chunks = kSlots;
    args.out = {out.data(), columns};
    launch(mlc_attention_f32, {kSlots, kHeads, kRows}, 128, args);
    launch(mlc_attention_join, {1, unsigned(kHeads * c.group), kRows}, 128, args);
    ASSERT_EQ(0, memcmp(out.data(), whole.data(), out.size() * sizeof(float)));
    auto stored = [&](int row, int64_t p, bool value, int head, int d) {
      const float *page = pool.data() + tables[size_t(row * kSlots + p / kPage)] * pageFloats;
      return double(page[((value * kHeads + head) * kPage + p % kPage) * c.dim + d]);
    };
    for (int row = 0; row < kRows; ++row)
      for (int head = 0; head < kHeads * c.group; ++head) {
        int64_t begin = c.window ? std::max<int64_t>(0, positions[row] - c.window + 1) : 0;
        std::vector<double> sums(size_t(c.dim), 0.0);
        double total = 0;
        for (int64_t p = begin; p <= positions[row]; ++p) {
          double score = 0;
          for (int d = 0; d < c.dim; ++d)
            score += double(q[size_t(row * columns + head * c.dim + d)]) * stored(row, p, false, head / c.group, d);
          score *= args.scale;
          if (c.softcap > 0)
            score = c.softcap * std::tanh(score / c.softcap);
          double weight = std::exp(score);
          total += weight;
          for (int d = 0; d < c.dim; ++d)
            sums[size_t(d)] += weight * stored(row, p, true, head / c.group, d);
        }
        for (int d = 0; d < c.dim; ++d)
          ASSERT_NEAR(out[size_t(row * columns + head * c.dim + d)], sums[size_t(d)] / total, 2e-6);
      }
  }
}

} // namespace
