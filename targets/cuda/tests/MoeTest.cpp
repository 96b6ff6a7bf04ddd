//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The kernels of mixtures under the emulator: the choice of experts, the order of slots, and products that do not
// depend on how slots are grouped.
//
#include "targets/cpu/pack/Pack.h"
#include "targets/cuda/Kernels.h"
#include "targets/cuda/tests/Random.h"
#include "targets/cuda/tests/emulator/Emulator.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace mlc;
using namespace mlc::cuda;

extern "C" {
void mlc_moe_route(const MoeRouteArgs &args);
void mlc_moe_group(const MoeGroupArgs &args);
void mlc_moe_bf16_8(const MoeArgs &args);
void mlc_moe_bf16_32(const MoeArgs &args);
void mlc_moe_int8_8(const MoeArgs &args);
void mlc_moe_int8_32(const MoeArgs &args);
void mlc_moe_int4_8(const MoeArgs &args);
void mlc_moe_int4_32(const MoeArgs &args);
void mlc_moe_float(const MoeArgs &args);
void mlc_moe_join(const MoeJoinArgs &args);
}

namespace {

double sigmoidOf(double x) { return 1 / (1 + std::exp(-x)); }

/// The larger one first, of equals the lower index.
auto byScore(const std::vector<double> &scores) {
  return [&scores](int a, int b) {
    double first = scores[size_t(a)], second = scores[size_t(b)];
    return first > second || (first == second && a < b);
  };
}

// Against sorting: the best first, the lower expert first of equals, groups by their two best.
TEST(Moe, RouteChoosesTheBest) {
  Random random(1);
  struct Case {
    Router form;
    int experts, chosen, groups, topGroups;
    bool bias, normalize;
  };
  for (Case c : {Case{Router::softmaxTopk, 8, 2, 1, 1, false, true},
                 {Router::softmaxTopk, 60, 4, 1, 1, false, false},
                 {Router::topkSoftmax, 33, 33, 1, 1, false, false},
                 {Router::topkSoftmax, 1, 1, 1, 1, false, false},
                 {Router::sigmoid, 64, 8, 8, 4, true, true},
                 {Router::sigmoid, 6, 2, 3, 2, true, false},
                 {Router::sigmoid, 512, 10, 1, 1, false, true}}) {
    constexpr size_t kTokens = 5;
    auto experts = size_t(c.experts), chosen = size_t(c.chosen);
    std::vector<float> logits = normals(random, kTokens * experts), bias = normals(random, experts);
    // Ties: of two that are alike, and of a whole row.
    if (experts > 4)
      logits[4] = logits[1];
    std::fill_n(logits.end() - int64_t(experts), experts, 0.5f);
    std::vector<int32_t> ids(kTokens * (chosen + 1), -7);
    std::vector<float> weights(kTokens * chosen, NAN);
    MoeRouteArgs args{};
    args.logits = {logits.data(), c.experts};
    args.bias = c.bias ? bias.data() : nullptr;
    args.ids = {ids.data(), c.chosen + 1};
    args.weights = {weights.data(), c.chosen};
    args.experts = c.experts, args.chosen = c.chosen, args.groups = c.groups, args.topGroups = c.topGroups;
    args.scale = 1.5f, args.form = c.form, args.normalize = c.normalize;
    emulator::launch({kTokens, 1, 1}, 32, [&] { mlc_moe_route(args); });
    for (size_t t = 0; t < kTokens; ++t) {
      std::span<const float> row(logits.data() + t * experts, experts);
      std::vector<double> score(experts), p(experts);
      double total = 0;
      for (float logit : row)
        total += std::exp(double(logit));
      for (size_t e = 0; e < experts; ++e) {
        p[e] = c.form == Router::sigmoid ? sigmoidOf(row[e]) : std::exp(double(row[e])) / total;
        // The kernel compares f32.
        score[e] = c.form == Router::sigmoid ? double(float(p[e]) + (c.bias ? bias[e] : 0.0f)) : row[e];
      }
      std::vector<int> order(experts), groups(size_t(c.groups));
      for (size_t e = 0; e < experts; ++e)
        order[e] = int(e);
      std::sort(order.begin(), order.end(), byScore(score));
      std::vector<double> sums(size_t(c.groups), 0.0);
      std::vector<int> counted(size_t(c.groups), 0);
      int size = c.experts / c.groups;
      for (int e : order)
        if (counted[size_t(e / size)]++ < 2)
          sums[size_t(e / size)] += score[size_t(e)];
      for (int g = 0; g < c.groups; ++g)
        groups[size_t(g)] = g;
      std::sort(groups.begin(), groups.end(), byScore(sums));
      groups.resize(size_t(c.topGroups));
      std::erase_if(order, [&](int e) {
        return c.groups > 1 && std::find(groups.begin(), groups.end(), e / size) == groups.end();
      });
      double sum = 0;
      for (size_t j = 0; j < chosen; ++j)
        sum += p[size_t(order[j])];
      for (size_t j = 0; j < chosen; ++j) {
        ASSERT_EQ(ids[t * (chosen + 1) + j], order[j]) << "token " << t << ", choice " << j << " of " << experts;
        double want = p[size_t(order[j])] * 1.5;
        if (c.normalize || c.form == Router::topkSoftmax)
          want /= sum;
        ASSERT_NEAR(weights[t * chosen + j], want, 2e-6 * std::max(1.0, want));
      }
      EXPECT_EQ(ids[t * (chosen + 1) + chosen], -7);
    }
  }
}

// What is no number is never chosen before a number.
TEST(Moe, RouteLeavesNaN) {
  std::vector<float> logits = {NAN, -INFINITY, 1, NAN, 2, NAN};
  std::vector<int32_t> ids(4);
  std::vector<float> weights(4);
  MoeRouteArgs args{};
  args.logits = {logits.data(), 6};
  args.ids = {ids.data(), 4};
  args.weights = {weights.data(), 4};
  args.experts = 6, args.chosen = 4, args.groups = args.topGroups = 1, args.scale = 1, args.form = Router::topkSoftmax;
  emulator::launch({1, 1, 1}, 32, [&] { mlc_moe_route(args); });
  EXPECT_EQ(ids, (std::vector<int32_t>{4, 2, 1, 0}));
}

struct Format {
  const char *name;
  fb::WeightFormat format;
  unsigned group;
  bool bf16;
};
void PrintTo(const Format &f, std::ostream *os) { *os << f.name; }

struct Experts : testing::TestWithParam<Format> {};

TEST_P(Experts, AgreeWithF64HoweverSlotsAreGrouped) {
  const Format &format = GetParam();
  Random random(2);
  for (auto [n, k, gate] : {std::tuple<uint64_t, uint64_t, bool>{40, 96, true}, {16, 200, false}, {33, 64, true}}) {
    constexpr int kExperts = 5, kChosen = 3, kTokens = 70;
    fb::WeightDesc desc(n, k, format.group, format.format, false);
    if (!cpu::packedBytes(desc))
      continue;
    size_t matrix = *cpu::packedBytes(desc), matrices = kExperts * (gate ? 2 : 1);
    std::vector<float> values = normals(random, matrices * n * k), x = normals(random, kTokens * k);
    std::vector<uint8_t> packed(matrices * matrix + 64);
    for (size_t m = 0; m < matrices; ++m)
      ASSERT_TRUE(cpu::packRows(desc, 0, n, values.data() + m * n * k, packed.data() + m * matrix, nullptr));
    // Uneven: expert 0 has more slots than a tile, expert 3 none; ids that name no expert have no row.
    std::vector<int32_t> ids(kTokens * kChosen);
    for (size_t t = 0; t < kTokens; ++t)
      for (size_t j = 0; j < kChosen; ++j) {
        int32_t e = int32_t(random() % 4);
        ids[t * kChosen + j] = j == 0 && t % 9 ? 0 : e == 3 ? 4 : t == 20 ? -1 : e;
      }
    ids[5] = kExperts;
    MoeArgs args{};
    if (format.bf16)
      static_cast<PanelArgs &>(args) = panelArgs(desc);
    else
      args.panelBytes = int64_t(cpu::panelLayout(desc).bytes);
    args.k = int64_t(k), args.n = int64_t(n);
    args.aligned = k % 4 == 0;
    args.ids = {ids.data(), kChosen};
    args.x = {x.data(), int64_t(k)};
    args.weight = packed.data();
    args.matrixBytes = int64_t(matrix), args.stride = gate ? 2 : 1, args.gate = gate;
    args.experts = kExperts, args.chosen = args.share = kChosen, args.act = Act::silu;
    args.floats = format.format == fb::WeightFormat::panel_f32   ? Storage::f32
                  : format.format == fb::WeightFormat::panel_f16 ? Storage::f16
                                                                 : Storage::bf16;
    auto panels = unsigned((n + 15) / 16);
    std::vector<float> loose(kTokens * kChosen * n, NAN), grouped = loose;
    args.out = {loose.data(), int64_t(n)};
    using Kernel = void (*)(const MoeArgs &);
    static constexpr Kernel few[] = {mlc_moe_bf16_8, mlc_moe_int8_8, mlc_moe_int4_8},
                            many[] = {mlc_moe_bf16_32, mlc_moe_int8_32, mlc_moe_int4_32};
    unsigned panel = format.bf16 ? unsigned((*storedAs(desc)).panel) : 0;
    Kernel alone = format.bf16 ? few[panel] : mlc_moe_float;
    emulator::launch({panels, kTokens * kChosen, 1}, 256, [&] { alone(args); });
    if (format.bf16) {
      constexpr int64_t kTiles = kTokens * kChosen / 32 + 1 + kExperts;
      std::vector<MoeTile> tiles(kTiles, MoeTile{-1, -1, -1});
      std::vector<int32_t> slots(kTokens * kChosen, -1);
      emulator::launch({1, 1, 1}, 256, [&] {
        mlc_moe_group({args.ids, slots.data(), tiles.data(), kTokens, kTiles, kExperts, kChosen});
      });
      std::vector<int32_t> want;
      for (int32_t e = 0; e < kExperts; ++e)
        for (size_t s = 0; s < ids.size(); ++s)
          if (ids[s] == e)
            want.push_back(int32_t(s));
      ASSERT_TRUE(std::equal(want.begin(), want.end(), slots.begin()));
      int covered = 0;
      for (const MoeTile &tile : tiles) {
        for (int i = 0; i < tile.count; ++i)
          ASSERT_EQ(ids[size_t(slots[size_t(tile.first + i)])], tile.expert);
        covered += tile.count;
      }
      ASSERT_EQ(covered, int(want.size()));
      args.out.data = grouped.data();
      args.tiles = tiles.data(), args.slots = slots.data();
      emulator::launch({(panels + 7) / 8, kTiles, 1}, 256, [&] { many[panel](args); });
      ASSERT_EQ(0, memcmp(loose.data(), grouped.data(), loose.size() * 4)) << n << " x " << k;
    }
    std::vector<float> row(k);
    for (size_t s = 0; s < ids.size(); ++s)
      for (uint64_t o = 0; o < n; ++o) {
        float got = loose[s * n + o];
        if (ids[s] < 0 || ids[s] >= kExperts) {
          ASSERT_TRUE(std::isnan(got));
          continue;
        }
        double sums[2] = {};
        for (int g = 0; g < (gate ? 2 : 1); ++g) {
          size_t m = size_t(ids[s]) * size_t(args.stride) + size_t(g);
          cpu::unpackRow(desc, packed.data() + m * matrix, o, row.data());
          for (uint64_t i = 0; i < k; ++i) {
            float value = x[s / kChosen * k + i];
            sums[g] += double(row[i]) * (format.bf16 ? bf16ToF32(f32ToBf16(value)) : value);
          }
        }
        double want = sums[0] * sigmoidOf(sums[0]) * (gate ? sums[1] : 1);
        ASSERT_NEAR(got, want, 2e-5 * (1 + std::fabs(want)) * std::sqrt(double(k))) << "slot " << s << ", output " << o;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Experts,
                         testing::Values(Format{"f32", fb::WeightFormat::panel_f32, 0, false},
                                         Format{"f16", fb::WeightFormat::panel_f16, 0, false},
                                         Format{"bf16_exact", fb::WeightFormat::panel_bf16, 0, false},
                                         Format{"bf16", fb::WeightFormat::panel_bf16, 0, true},
                                         Format{"int8", fb::WeightFormat::panel_int8, 32, true},
                                         Format{"int4", fb::WeightFormat::panel_int4, 32, true}),
                         [](const auto &info) { return std::string(info.param.name); });

// By rising expert, a token that names one twice included.
TEST(Moe, JoinAddsByRisingExpert) {
  std::vector<int32_t> ids = {3, 0, 3, 9, -1, 2};
  std::vector<float> weights = {1, 2, 3, 4, 5, 6}, parts = {1e8f, 1, -1e8f, NAN, NAN, 7}, residual = {0.5f, 1};
  std::vector<float> out(2);
  MoeJoinArgs args{
      {ids.data(), 3}, {weights.data(), 3}, {parts.data(), 1}, {residual.data(), 1}, {out.data(), 1}, 1, 9, 3};
  emulator::launch({1, 2, 1}, 256, [&] { mlc_moe_join(args); });
  EXPECT_EQ(out[0], std::fmaf(3, -1e8f, std::fmaf(1, 1e8f, std::fmaf(2, 1, 0.5f))));
  EXPECT_EQ(out[1], 1 + 6 * 7);
}

} // namespace
