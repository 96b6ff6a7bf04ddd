//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The kernels' text under the emulator: products against f64, and that a row's bits depend on nothing but the row.
//
#include "runtime/core/Float16.h"
#include "targets/cpu/pack/Pack.h"
#include "targets/cuda/Functions.h"
#include "targets/cuda/Kernels.h"
#include "targets/cuda/device/Args.h"
#include "targets/cuda/tests/Guarded.h"
#include "targets/cuda/tests/Launch.h"

#include <gtest/gtest.h>

using namespace mlc;
using namespace mlc::cuda;

#define MLC_CUDA_DECLARE(NAME, ARGS) extern "C" void NAME(const ARGS &args);
MLC_CUDA_FUNCTIONS(MLC_CUDA_DECLARE)
// The tiles that devices before Hopper have (EmulatedKernels.cpp).
MLC_CUDA_DECLARE(mlc_copied_tile_bf16_64, TileLinearArgs)
MLC_CUDA_DECLARE(mlc_copied_tile_bf16_192, TileLinearArgs)
MLC_CUDA_DECLARE(mlc_copied_tile_int8_64, TileLinearArgs)
MLC_CUDA_DECLARE(mlc_copied_tile_int8_96, TileLinearArgs)
MLC_CUDA_DECLARE(mlc_copied_tile_int4_64, TileLinearArgs)
MLC_CUDA_DECLARE(mlc_copied_tile_int4_96, TileLinearArgs)

namespace {

float asBf16(float value) { return bf16ToF32(f32ToBf16(value)); }
/// Bytes behind which a page lies that nothing may touch.
class GuardedBytes {
public:
  explicit GuardedBytes(size_t count) : count(count), bytes(allocateGuarded(count)) {
    if (!bytes)
      abort();
  }
  ~GuardedBytes() { releaseGuarded(bytes, count); }
  GuardedBytes(const GuardedBytes &) = delete;
  uint8_t *data() const { return bytes; }
  size_t size() const { return count; }

private:
  size_t count;
  uint8_t *bytes;
};

// sm_86 runs what is made for 8.0, nothing older or of another major version; PTX goes last.
static_assert(archRank(parseArch("sm_80"), 86) > archRank(parseArch("compute_80"), 86));
static_assert(archRank(parseArch("sm_90a"), 90) > archRank(parseArch("compute_80"), 90));
static_assert(archRank(parseArch("sm_80"), 90) == 0 && archRank(parseArch("sm_90a"), 100) == 0);
static_assert(archRank(parseArch("sm_86"), 80) == 0 && archRank(parseArch("compute_80"), 75) == 0);
static_assert(archRank(parseArch("compute_80"), 120) > 0 && archRank(parseArch("sm_80"), 89) > 0);
static_assert(!parseArch("sm_").number && !parseArch("sm_9x").number && !parseArch("gfx90a").number);
static_assert(pageBucket(1, 100) == 4 && pageBucket(5, 100) == 8 && pageBucket(9, 10) == 10 && pageBucket(1, 2) == 2);
// Parts follow each other without overlap, each aligned for its elements.
constexpr StepLayout kLayout = stepLayout(3, 2, 5, 4, true);
static_assert(kLayout.segmentOfRow == 12 && kLayout.segments == 32 && kLayout.tables == 32 + 2 * sizeof(StepSegment) &&
              kLayout.stateSegments == kLayout.tables + 5 * 2 * 4 * 4 &&
              kLayout.statePages == kLayout.stateSegments + 2 * sizeof(StateSegment) &&
              kLayout.bytes == kLayout.statePages + 4 * sizeof(StatePage));
static_assert(stepLayout(3, 2, 5, 4, false).bytes == kLayout.stateSegments);

/// The launches of runTiles.
void launchTiles(const PanelLinearArgs &linear, Panel panel, const Tiling &tiling) {
  using Kernel = void (*)(const TileLinearArgs &);
  static constexpr Kernel bulk[][2] = {{mlc_tile_bf16_64, mlc_tile_bf16_192},
                                       {mlc_tile_int8_64, mlc_tile_int8_96},
                                       {mlc_tile_int4_64, mlc_tile_int4_96}},
                          copied[][2] = {{mlc_copied_tile_bf16_64, mlc_copied_tile_bf16_192},
                                         {mlc_copied_tile_int8_64, mlc_copied_tile_int8_96},
                                         {mlc_copied_tile_int4_64, mlc_copied_tile_int4_96}};
  TileLinearArgs args{};
  static_cast<PanelLinearArgs &>(args) = linear;
  const int rows = !tiling.wide ? 64 : panel == Panel::bf16 ? 192 : 96, columns = tileColumns(panel);
  const int stages = int(blocks(args.columns, columns));
  const unsigned rowBlocks = blocks(args.rows, rows);
  GuardedBytes rounded(size_t(rowBlocks) * unsigned(stages * rows * columns * 2));
  memset(rounded.data(), 0xff, rounded.size());
  RoundRowsArgs round{args.x, rounded.data(), args.k, args.rows, rows, stages, panel, args.norm};
  if (args.norm.weight)
    launch(mlc_norm_rows, {unsigned(rows), rowBlocks, 1}, 256, round);
  else
    launch(mlc_round_rows, {blocks(int64_t(stages) * rows * columns / 8, 256), rowBlocks, 1}, 256, round);
  const int slices = sliceCount(args.columns);
  args.rounded = rounded.data();
  args.stages = tiling.stages;
  args.slicesEach = std::min(tiling.slicesEach, slices);
  std::vector<float> parts;
  if (args.slicesEach < slices) {
    parts.assign(size_t(slices) * size_t(args.rows) * size_t(args.n), NAN);
    args.parts = parts.data();
  }
  launch((tiling.bulk ? bulk : copied)[unsigned(panel)][tiling.wide],
         {blocks(args.n, args.gate ? 64 : 128), rowBlocks, blocks(slices, args.slicesEach)},
         unsigned(tileThreads(tiling.bulk)), args,
         unsigned(args.stages * tileStageBytes(panel, rows)) + kTileAlignment);
  if (args.parts)
    launch(mlc_join_slices, {blocks(args.n, 256), unsigned(args.rows), 1}, 256, args);
}

/// A form of linear: what it takes of a weight, and its kernels by rows.
struct Case {
  const char *name;
  fb::WeightFormat format;
  unsigned group;
  bool asymmetric;
};
void PrintTo(const Case &c, std::ostream *os) { *os << c.name; }

struct LinearTest : testing::TestWithParam<Case> {
  InputNorm norm{}; // Of panels.

  /// x W^T + bias + residual by the kernel that so many rows get; with `stay`, by that many blocks which stay; with
  /// `tiling`, by tiles.
  std::vector<float> run(const GuardedBytes &packed, const fb::WeightDesc &desc, const std::vector<float> &x,
                         const std::vector<float> &bias, const std::vector<float> &residual, int rows,
                         unsigned stay = 0, const Tiling *tiling = nullptr) {
    auto n = int64_t(desc.n()), k = int64_t(desc.k());
    std::vector<float> out(size_t(rows * n), NAN);
    LinearArgs args{{x.data(), k}, packed.data(), bias.data(), {residual.data(), n}, {out.data(), n}, n, k, rows};
    Stored stored = *storedAs(desc);
    if (stored.panels) {
      PanelLinearArgs panels{};
      static_cast<PanelArgs &>(panels) = panelArgs(desc);
      panels.x = args.x;
      panels.weight = args.weight;
      panels.bias = args.bias;
      panels.residual = args.residual;
      panels.out = args.out;
      panels.n = n;
      panels.k = k;
      panels.rows = rows;
      panels.aligned = k % 4 == 0;
      panels.norm = norm;
      using Kernel = void (*)(const PanelLinearArgs &);
      static constexpr Kernel staying[] = {mlc_stream_bf16, mlc_stream_int8, mlc_stream_int4};
      if (stay) {
        panels.rowWords = int32_t(streamRowWords(panels.columns, stored.panel == Panel::int4 ? 2 : 1));
        launch(panels.zeros ? mlc_stream_int4_zeros : staying[unsigned(stored.panel)], {stay, 1, 1}, 256, panels);
        return out;
      }
      if (tiling || rows > kSplitRows) {
        launchTiles(panels, stored.panel, tiling ? *tiling : kTilings[0]);
        return out;
      }
      static constexpr Kernel kernels[][2] = {{mlc_panel_bf16_8, mlc_panel_bf16_16},
                                              {mlc_panel_int8_8, mlc_panel_int8_16},
                                              {mlc_panel_int4_8, mlc_panel_int4_16}};
      launch(kernels[unsigned(stored.panel)][rows > 8], {blocks(n, 16), 1, 1}, 256, panels);
      return out;
    }
    using Kernel = void (*)(const LinearArgs &);
    static constexpr Kernel kernels[][5] = {
        {mlc_linear_f32_1, mlc_linear_f32_2, mlc_linear_f32_4, mlc_linear_f32_8, mlc_linear_f32_any},
        {mlc_linear_f16_1, mlc_linear_f16_2, mlc_linear_f16_4, mlc_linear_f16_8, mlc_linear_f16_any},
        {mlc_linear_bf16_1, mlc_linear_bf16_2, mlc_linear_bf16_4, mlc_linear_bf16_8, mlc_linear_bf16_any}};
    unsigned form = k % 8 ? 4 : rows <= 1 ? 0 : rows <= 2 ? 1 : rows <= 4 ? 2 : 3;
    static constexpr int tile[] = {1, 2, 4, 8, 4}, columns[] = {2, 2, 2, 4, 2};
    launch(kernels[unsigned(stored.storage)][form], {blocks(n, 4 * columns[form]), blocks(rows, tile[form]), 1}, 128,
           args);
    return out;
  }
};

TEST_P(LinearTest, AgreesWithF64AndRowsStandAlone) {
  for (auto [n, k] : {std::pair<uint64_t, uint64_t>{16, 32}, {37, 200}, {5, 96}, {24, 1344}, {40, 83}, {134, 2100}}) {
    const Case &c = GetParam();
    fb::WeightDesc desc(n, k, c.group, c.format, c.asymmetric);
    if (c.format == fb::WeightFormat::panel_q4_0 || c.format == fb::WeightFormat::panel_q8_0 || !cpu::packedBytes(desc))
      continue;
    std::vector<float> values = seeded(n * k, 1), bias = seeded(n, 2);
    GuardedBytes packed(*cpu::packedBytes(desc));
    ASSERT_TRUE(cpu::packRows(desc, 0, n, values.data(), packed.data(), nullptr));
    constexpr int kRows = 40;
    std::vector<float> x = seeded(kRows * k, 3), residual = seeded(kRows * n, 4);
    std::vector<float> all = run(packed, desc, x, bias, residual, kRows);
    bool rounds = (*storedAs(desc)).panels;
    std::vector<float> row(k);
    for (uint64_t o = 0; o < n; ++o) {
      cpu::unpackRow(desc, packed.data(), o, row.data());
      for (int r = 0; r < kRows; ++r) {
        double sum = bias[o] + residual[size_t(r) * n + o], size = std::fabs(sum);
        for (uint64_t i = 0; i < k; ++i) {
          double product = double(row[i]) * (rounds ? asBf16(x[size_t(r) * k + i]) : x[size_t(r) * k + i]);
          sum += product;
          size += std::fabs(product);
        }
        ASSERT_NEAR(all[size_t(r) * n + o], sum, 2e-6 * size) << "output " << o << " of row " << r;
      }
    }
    for (int rows : {1, 2, 3, 7, 9, 16, 17, 33}) {
      int first = kRows - rows;
      std::vector<float> part(x.begin() + first * int64_t(k), x.end());
      std::vector<float> rest(residual.begin() + first * int64_t(n), residual.end());
      std::vector<float> some = run(packed, desc, part, bias, rest, rows);
      ASSERT_EQ(0, memcmp(some.data(), all.data() + first * int64_t(n), some.size() * sizeof(float)))
          << rows << " rows of " << n << " x " << k;
      for (unsigned blocks : {1u, 2u, 5u})
        if (rounds && rows <= 8) {
          some = run(packed, desc, part, bias, rest, rows, blocks);
          ASSERT_EQ(0, memcmp(some.data(), all.data() + first * int64_t(n), some.size() * sizeof(float)))
              << rows << " rows of " << n << " x " << k << " in " << blocks << " blocks";
        }
    }
    for (const Tiling &tiling : kTilings)
      if (rounds) {
        std::vector<float> some = run(packed, desc, x, bias, residual, kRows, 0, &tiling);
        ASSERT_EQ(0, memcmp(some.data(), all.data(), some.size() * sizeof(float)))
            << n << " x " << k << " by tiling " << &tiling - kTilings;
      }
  }
}

// A norm on the way gives the bits of one in front, whichever form takes it along.
TEST_P(LinearTest, NormsOnTheWayAreThoseInFront) {
  const Case &c = GetParam();
  for (auto [n, k] : {std::pair<uint64_t, uint64_t>{37, 200}, {40, 83}, {24, 1344}}) {
    fb::WeightDesc desc(n, k, c.group, c.format, c.asymmetric);
    if (c.format == fb::WeightFormat::panel_q4_0 || c.format == fb::WeightFormat::panel_q8_0 ||
        !cpu::packedBytes(desc) || !(*storedAs(desc)).panels)
      continue;
    std::vector<float> values = seeded(n * k, 1), bias = seeded(n, 2), scales = seeded(k, 5);
    GuardedBytes packed(*cpu::packedBytes(desc));
    ASSERT_TRUE(cpu::packRows(desc, 0, n, values.data(), packed.data(), nullptr));
    constexpr int kRows = 40;
    std::vector<float> x = seeded(kRows * k, 3), residual = seeded(kRows * n, 4), normed(kRows * k);
    // Rows of very different size, which a norm makes alike.
    for (size_t i = 0; i < x.size(); ++i)
      x[i] *= std::exp2(float(i / k % 7) - 3);
    const auto columns = int64_t(k);
    NormArgs apart{};
    apart.x = {x.data(), columns};
    apart.weight = scales.data();
    apart.out = {normed.data(), columns};
    apart.width = columns;
    apart.eps = 1e-5f;
    apart.offset = 1;
    launch(mlc_rms_norm, {1, kRows, 1}, 256, apart);
    norm = {};
    const std::vector<float> all = run(packed, desc, normed, bias, residual, kRows);
    norm = {scales.data(), apart.eps, apart.offset};
    for (int rows : {1, 3, 8})
      for (unsigned blocks : {1u, 2u}) {
        std::vector<float> part(x.begin(), x.begin() + rows * columns);
        std::vector<float> some = run(packed, desc, part, bias, residual, rows, blocks);
        ASSERT_EQ(0, memcmp(some.data(), all.data(), some.size() * sizeof(float)))
            << rows << " rows of " << n << " x " << k << " in " << blocks << " blocks";
      }
    for (const Tiling &tiling : kTilings) {
      std::vector<float> some = run(packed, desc, x, bias, residual, kRows, 0, &tiling);
      ASSERT_EQ(0, memcmp(some.data(), all.data(), some.size() * sizeof(float)))
          << n << " x " << k << " by tiling " << &tiling - kTilings;
    }
  }
}

// Rows that stay meet W and V by turns, tiles both at once; a mixture of one expert has the same sums.
TEST_P(LinearTest, AGateIsAMixtureOfOneExpert) {
  const Case &c = GetParam();
  for (auto [n, k] : {std::pair<uint64_t, uint64_t>{32, 96}, {80, 320}, {16, 1344}}) {
    fb::WeightDesc half(n, k, c.group, c.format, c.asymmetric);
    if (!cpu::packedBytes(half) || !(*storedAs(half)).panels)
      continue;
    const size_t matrix = *cpu::packedBytes(half);
    const auto panel = unsigned((*storedAs(half)).panel);
    std::vector<float> values = seeded(2 * n * k, 7);
    GuardedBytes packed(2 * matrix);
    for (size_t i = 0; i < 2; ++i)
      ASSERT_TRUE(cpu::packRows(half, 0, n, values.data() + i * n * k, packed.data() + i * matrix, nullptr));
    for (int rows : {1, 3, 8, 70}) {
      std::vector<float> x = seeded(size_t(rows) * k, 8), want(size_t(rows) * n, NAN), got = want;
      MoeArgs mixture{};
      static_cast<PanelArgs &>(mixture) = panelArgs(half);
      mixture.x = {x.data(), int64_t(k)};
      mixture.out = {want.data(), int64_t(n)};
      mixture.weight = packed.data();
      mixture.matrixBytes = int64_t(matrix);
      mixture.gate = mixture.experts = mixture.chosen = mixture.share = 1;
      mixture.n = int64_t(n), mixture.k = int64_t(k), mixture.rows = rows;
      mixture.aligned = true;
      mixture.act = Act::silu;
      using Mixture = void (*)(const MoeArgs &);
      static constexpr Mixture mixtures[] = {mlc_moe_bf16_8, mlc_moe_int8_8, mlc_moe_int4_8};
      launch(mixtures[panel], {blocks(int64_t(n), 16), blocks(rows, 8), 1}, 256, mixture);
      PanelLinearArgs args{};
      static_cast<PanelArgs &>(args) = panelArgs(half);
      args.x = mixture.x;
      args.out = {got.data(), int64_t(n)};
      args.weight = packed.data();
      args.n = int64_t(n), args.k = int64_t(k), args.rows = rows;
      args.aligned = true;
      args.act = Act::silu;
      args.gate = int64_t(matrix);
      args.rowWords = int32_t(streamRowWords(args.columns, panel == unsigned(Panel::int4) ? 2 : 1));
      using Staying = void (*)(const PanelLinearArgs &);
      static constexpr Staying staying[] = {mlc_gate_bf16, mlc_gate_int8, mlc_gate_int4, mlc_gate_int4_zeros};
      for (const Tiling &tiling : kTilings)
        if (tiling.slicesEach == kSlices) {
          launchTiles(args, Panel(panel), tiling);
          ASSERT_EQ(0, memcmp(got.data(), want.data(), got.size() * sizeof(float)))
              << rows << " rows of " << n << " x " << k << " by tiling " << &tiling - kTilings;
        }
      for (unsigned stay : {1u, 2u, 5u}) {
        if (rows > 8)
          break;
        launch(staying[panel + (args.zeros != 0)], {stay, 1, 1}, 256, args);
        ASSERT_EQ(0, memcmp(got.data(), want.data(), got.size() * sizeof(float)))
            << rows << " rows of " << n << " x " << k << " in " << stay << " blocks";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, LinearTest,
                         testing::Values(Case{"f32", fb::WeightFormat::rows_f32, 0, false},
                                         Case{"f16", fb::WeightFormat::rows_f16, 0, false},
                                         Case{"bf16", fb::WeightFormat::rows_bf16, 0, false},
                                         Case{"panel_bf16", fb::WeightFormat::panel_bf16, 0, false},
                                         Case{"int8_row", fb::WeightFormat::panel_int8, 0, false},
                                         Case{"int8_64", fb::WeightFormat::panel_int8, 64, false},
                                         Case{"int4_32", fb::WeightFormat::panel_int4, 32, false},
                                         Case{"int4_128", fb::WeightFormat::panel_int4, 128, false},
                                         Case{"int4_64_asymmetric", fb::WeightFormat::panel_int4, 64, true}),
                         [](const auto &info) { return std::string(info.param.name); });

// Every round adds as much to every sum: none is left out.
TEST(TensorCore, PeakRoundsAreDone) {
  std::vector<float> one(2 * 256), three(2 * 256);
  launch(mlc_peak, {2, 1, 1}, 256, PeakArgs{one.data(), 1});
  launch(mlc_peak, {2, 1, 1}, 256, PeakArgs{three.data(), 3});
  for (size_t i = 0; i < one.size(); ++i) {
    ASSERT_NE(one[i], 0) << i;
    ASSERT_NEAR(three[i], 3 * one[i], 2e-3 * std::fabs(one[i]) + 0.05) << i;
  }
}

// Every value that a byte, a nibble and a zero point can be becomes the very bf16.
TEST(TensorCore, IntegersAreExact) {
  for (auto [format, group] : {std::pair{fb::WeightFormat::panel_int8, 32u}, {fb::WeightFormat::panel_int4, 32u}}) {
    fb::WeightDesc desc(16, 32, group, format, false);
    std::vector<uint8_t> packed(*cpu::packedBytes(desc));
    PanelArgs layout = panelArgs(desc);
    for (unsigned first = 0; first < 256; first += 32) {
      for (unsigned i = 0; i < unsigned(layout.scales); ++i)
        packed[i] = uint8_t(first + i * 7);
      for (unsigned i = 0; i < 16; ++i) // Scales of 1.
        packed[size_t(layout.scales) + 2 * i + 1] = 0x3f, packed[size_t(layout.scales) + 2 * i] = 0x80;
      std::vector<float> row(32), x(32 * 32), out(32 * 16);
      for (unsigned r = 0; r < 32; ++r)
        x[r * 32 + r] = 1; // Row r takes column r.
      PanelLinearArgs args{};
      static_cast<PanelArgs &>(args) = layout;
      args.x = {x.data(), 32};
      args.weight = packed.data();
      args.out = {out.data(), 16};
      args.n = 16;
      args.k = 32;
      args.rows = 32;
      args.aligned = true;
      launchTiles(args, format == fb::WeightFormat::panel_int8 ? Panel::int8 : Panel::int4, kTilings[0]);
      for (unsigned o = 0; o < 16; ++o) {
        cpu::unpackRow(desc, packed.data(), o, row.data());
        for (unsigned r = 0; r < 32; ++r)
          ASSERT_EQ(out[r * 16 + o], row[r]) << o << ", " << r;
      }
    }
  }
}

} // namespace
