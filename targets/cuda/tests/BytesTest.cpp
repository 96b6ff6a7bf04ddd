//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products of integers with rows of bytes under the emulator: the very bits of exact sums of groups that are scaled in
// order, whatever the rows, blocks and tiles; rows are quantized to the CPU's bits.
//
#include "targets/cpu/tests/LinearSupport.h"
#include "targets/cuda/Functions.h"
#include "targets/cuda/Kernels.h"
#include "targets/cuda/tests/Guarded.h"
#include "targets/cuda/tests/Launch.h"

#include <bit>

using namespace mlc;
using namespace mlc::cuda;

#define MLC_CUDA_DECLARE(NAME, ARGS) extern "C" void NAME(const ARGS &args);
MLC_CUDA_FUNCTIONS(MLC_CUDA_DECLARE)
// The tiles that devices before Hopper have (EmulatedKernels.cpp).
MLC_CUDA_DECLARE(mlc_copied_tile_w8a8_32, TileLinearArgs)
MLC_CUDA_DECLARE(mlc_copied_tile_w8a8_96, TileLinearArgs)
MLC_CUDA_DECLARE(mlc_copied_tile_w4a8_32, TileLinearArgs)
MLC_CUDA_DECLARE(mlc_copied_tile_w4a8_96, TileLinearArgs)

namespace {

using cpu::QuantizedRow;

/// Values behind which a page lies that nothing may touch; they are 0xff at first.
template <typename T> struct GuardedValues {
  size_t bytes;
  uint8_t *memory;
  explicit GuardedValues(size_t count) : bytes(count * sizeof(T)), memory(allocateGuarded(bytes)) {
    if (!memory)
      abort();
    memset(memory, 0xff, bytes);
  }
  ~GuardedValues() { releaseGuarded(memory, bytes); }
  GuardedValues(const GuardedValues &) = delete;
  T *data() const { return reinterpret_cast<T *>(memory); }
};

/// Launches mlc_quantize_rows of rows that lie `xStride` floats and `outStride` bytes apart.
void quantizeRows(const float *x, int64_t xStride, uint8_t *out, int64_t outStride, int rows, uint64_t k,
                  const QuantizedRow &row, bool aligned) {
  QuantizeRowsArgs args{{x, xStride},
                        {out, outStride},
                        int64_t(k),
                        int32_t(row.columns),
                        int32_t(row.group),
                        int32_t(row.sumGroup),
                        int32_t(row.scalesOffset),
                        int32_t(row.sumsOffset),
                        aligned};
  launch(mlc_quantize_rows, {blocks(args.columns, 8 * quantizedSpan(args.group)), unsigned(rows), 1}, 256, args);
}

// Every number, those that are not finite, tiny and none included.
TEST(QuantizeRowsOnGpu, GivesTheCpusBits) {
  Random random(1);
  for (auto [k, group, sums] : {std::tuple<uint64_t, uint32_t, uint32_t>{1, 32, 0},
                                {32, 32, 16},
                                {100, 32, 0},
                                {128, 128, 0},
                                {384, 128, 32},
                                {1280, 128, 16},
                                {200, 64, 64},
                                {96, 96, 0},
                                {700, 0, 0},
                                {130, 0, 0},
                                {512, 256, 128},
                                {4096, 0, 0},
                                {1100, 128, 64}}) {
    const QuantizedRow row(k, group, sums);
    constexpr int kRows = 9;
    std::vector<float> x = normals(random, kRows * k);
    for (int r = 0; r < kRows; ++r) {
      float *values = x.data() + size_t(r) * k, any = values[random() % k];
      const float scales[] = {1, 1e-40f, 1e-37f, 3e38f, 0, 1, 1, 1e30f, 1};
      for (uint64_t i = 0; i < k; ++i)
        values[i] *= scales[r];
      if (r == 5)
        values[random() % k] = INFINITY;
      if (r == 6)
        values[random() % k] = NAN;
      if (r == 8) // Ties.
        for (uint64_t i = 0; i < k; ++i)
          values[i] = i % 7 ? float(int(random() % 255) - 127) * 0.5f : 127 * std::copysign(1.0f, any);
    }
    const test::Tensor want =
        test::quantize(test::Tensor::matrix(x, kRows, int64_t(k)), k, {group, sums}, Isa::portable);
    for (bool aligned : {true, false}) {
      // The last row ends where the guarded page begins.
      const int64_t xStride = int64_t(aligned ? alignUp<uint64_t>(k, 4) : k),
                    outStride = int64_t(row.bytes) + (aligned ? 0 : 3);
      GuardedValues<float> in(size_t(xStride) * (kRows - 1) + alignUp<uint64_t>(k, aligned ? 4 : 1));
      for (int r = 0; r < kRows; ++r)
        memcpy(in.data() + r * xStride, x.data() + size_t(r) * k, k * sizeof(float));
      GuardedValues<uint8_t> out(size_t(outStride) * (kRows - 1) + row.bytes);
      quantizeRows(in.data(), xStride, out.data(), outStride, kRows, k, row, aligned);
      const size_t used = row.sumsOffset + 4 * (row.columns / row.sumGroup);
      for (int r = 0; r < kRows; ++r)
        ASSERT_EQ(0, memcmp(out.data() + r * outStride, want.view.row<uint8_t>(r), used))
            << "row " << r << " of " << k << " in groups of " << group << ", sums of " << sums;
    }
  }
}

struct BytesCase {
  const char *name;
  fb::WeightFormat format;
  unsigned group;
};
void PrintTo(const BytesCase &c, std::ostream *os) { *os << c.name; }

struct BytesTest : testing::TestWithParam<BytesCase> {
  static bool isInt8(const fb::WeightDesc &desc) {
    return desc.format() == fb::WeightFormat::panel_int8 || desc.format() == fb::WeightFormat::panel_q8_0;
  }
  static Panel panelOf(const fb::WeightDesc &desc) { return isInt8(desc) ? Panel::w8a8 : Panel::w4a8; }

  /// Some weight of any bytes, with scales that are moderate.
  static void fill(Random &random, const fb::WeightDesc &desc, uint8_t *packed) {
    const PanelArgs layout = panelArgs(desc);
    const auto bytes = int64_t(*cpu::packedBytes(desc));
    for (int64_t i = 0; i < bytes; ++i)
      packed[i] = uint8_t(random());
    std::uniform_real_distribution<float> scale(0.001f, 0.02f);
    for (int64_t panel = 0; panel < bytes; panel += layout.panelBytes)
      for (int64_t at = layout.scales; at + 2 <= layout.panelBytes; at += 2) {
        const float value = random() % 8 ? scale(random) : -scale(random);
        const uint16_t bits = layout.halfScales ? f32ToF16(value) : f32ToBf16(value);
        memcpy(packed + panel + at, &bits, 2);
      }
  }

  /// One sum as docs/cuda.md has it, by plain loops.
  static float product(const fb::WeightDesc &desc, const uint8_t *packed, const uint8_t *row, uint64_t output) {
    const PanelArgs layout = panelArgs(desc);
    const QuantizedRow quantized = cpu::quantizedRow(desc);
    const uint8_t *panel = packed + int64_t(output / 16) * layout.panelBytes;
    const int r = int(output % 16), each = sliceColumns(layout.columns);
    float total = 0;
    for (int begin = 0; begin < layout.columns; begin += each) {
      const int end = std::min(begin + each, layout.columns);
      float sum = 0;
      for (int k = begin; k < end;) {
        const int group = k >> layout.groupShift;
        int32_t exact = 0;
        const int first = k;
        for (; k < end && k >> layout.groupShift == group; ++k) {
          const int code = isInt8(desc) ? panel[k / 4 * 64 + r * 4 + k % 4] - 128
                                        : (panel[k / 8 * 64 + r * 4 + k % 4] >> (k / 4 % 2 * 4) & 15) - 8;
          exact += code * int8_t(row[k]);
        }
        uint16_t bits;
        memcpy(&bits, panel + layout.scales + group * 32 + 2 * r, 2);
        float scale;
        memcpy(&scale, row + quantized.scalesOffset + 4 * (uint64_t(first) / quantized.group), 4);
        sum = fmaf(float(exact), (layout.halfScales ? f16ToF32(bits) : bf16ToF32(bits)) * scale, sum);
      }
      total = begin ? total + sum : sum;
    }
    return total;
  }

  /// A linear of rows at `rows`, without the launch's own.
  static PanelLinearArgs linear(const fb::WeightDesc &desc, const uint8_t *packed, const uint8_t *rows, int64_t stride,
                                int count, float *out) {
    const QuantizedRow row = cpu::quantizedRow(desc);
    PanelLinearArgs args{};
    static_cast<PanelArgs &>(args) = panelArgs(desc);
    args.bytes = {{rows, stride}, int32_t(row.scalesOffset), row.groups == 1 ? kWholeRow : std::countr_zero(row.group)};
    args.aligned = stride % 16 == 0 && reinterpret_cast<uintptr_t>(rows) % 16 == 0;
    args.weight = packed;
    args.n = int64_t(desc.n()), args.k = int64_t(desc.k()), args.rows = count;
    args.out = {out, args.n};
    args.rowWords = int32_t(streamByteWords(args.columns, int64_t(row.groups)));
    return args;
  }
  /// The launches of runTiles.
  static void launchTiles(const PanelLinearArgs &linear, Panel panel, const Tiling &tiling) {
    using Kernel = void (*)(const TileLinearArgs &);
    static constexpr Kernel bulk[][2] = {{mlc_tile_w8a8_32, mlc_tile_w8a8_96}, {mlc_tile_w4a8_32, mlc_tile_w4a8_96}},
                            copied[][2] = {{mlc_copied_tile_w8a8_32, mlc_copied_tile_w8a8_96},
                                           {mlc_copied_tile_w4a8_32, mlc_copied_tile_w4a8_96}};
    TileLinearArgs args{};
    static_cast<PanelLinearArgs &>(args) = linear;
    const int rows = tiling.wide ? 96 : 32, stages = int(blocks(args.columns, 128)), slices = sliceCount(args.columns);
    const unsigned rowBlocks = blocks(args.rows, rows);
    const int stageBytes = rows * (128 + 4 * tileScales(args.bytes.shift));
    GuardedValues<uint8_t> placed(size_t(rowBlocks) * unsigned(stages * stageBytes));
    launch(mlc_place_rows, {blocks(int64_t(stages) * stageBytes / 16, 256), rowBlocks, 1}, 256,
           PlaceRowsArgs{args.bytes, placed.data(), args.columns, args.rows, rows, stages, args.aligned, panel});
    args.rounded = placed.data();
    args.stages = tiling.stages;
    args.slicesEach = args.gate ? slices : std::min(tiling.slicesEach, slices);
    GuardedValues<float> parts(size_t(slices) * size_t(args.rows) * size_t(args.n));
    if (args.slicesEach < slices)
      args.parts = parts.data();
    launch((tiling.bulk ? bulk : copied)[panel == Panel::w4a8][tiling.wide],
           {blocks(args.n, args.gate ? 64 : 128), rowBlocks, blocks(slices, args.slicesEach)},
           unsigned(tileThreads(tiling.bulk)), args,
           unsigned(args.stages * tileStageBytes(panel, rows)) + kTileAlignment);
    if (args.parts)
      launch(mlc_join_slices, {blocks(args.n, 256), unsigned(args.rows), 1}, 256, args);
  }
};

TEST_P(BytesTest, AnyNumberOfRowsHasTheBitsOfExactSums) {
  const BytesCase &c = GetParam();
  Random random(2);
  for (auto [n, k, most] : {std::tuple<uint64_t, uint64_t, int>{16, 32, 3},
                            {37, 200, 97},
                            {5, 96, 40},
                            {24, 1344, 33},
                            {134, 2176, 9},
                            {40, 640, 300},
                            {130, 83, 100}}) {
    if (cpu::isBlockPanel(c.format))
      k = alignUp<uint64_t>(k, 32);
    const fb::WeightDesc desc(n, k, c.group, c.format, false);
    const QuantizedRow row = cpu::quantizedRow(desc);
    const Panel panel = panelOf(desc);
    GuardedValues<uint8_t> packed(*cpu::packedBytes(desc));
    fill(random, desc, packed.data());
    const int64_t stride = int64_t(row.bytes);
    GuardedValues<uint8_t> bytes(size_t(most * stride));
    std::vector<float> x = normals(random, size_t(most) * k);
    if (most > 8)
      x[3 * k + k / 2] = NAN; // Reaches its row alone.
    quantizeRows(x.data(), int64_t(k), bytes.data(), stride, most, k, row, k % 4 == 0);
    std::vector<float> bias = normals(random, n), residual = normals(random, size_t(most) * n), want(size_t(most) * n);
    for (int r = 0; r < most; ++r)
      for (uint64_t o = 0; o < n; ++o)
        want[size_t(r) * n + o] =
            product(desc, packed.data(), bytes.data() + r * stride, o) + bias[o] + residual[size_t(r) * n + o];
    auto same = [&](const float *got, int first, int rows, const std::string &how) {
      for (size_t i = 0; i < size_t(rows) * n; ++i) {
        const float expected = want[size_t(first) * n + i];
        ASSERT_TRUE(std::bit_cast<uint32_t>(got[i]) == std::bit_cast<uint32_t>(expected) ||
                    (std::isnan(got[i]) && std::isnan(expected)))
            << got[i] << " for " << expected << ": output " << i % n << " of row " << i / n << " of " << rows
            << " from " << first << ", " << n << " x " << k << how;
      }
    };
    std::vector<int> counts{1, 2, 8, most};
    for (int i = 0; i < 3; ++i)
      counts.push_back(1 + int(random() % unsigned(most)));
    for (int rows : counts) {
      rows = std::min(rows, most);
      const int first = int(random() % unsigned(most - rows + 1));
      // Some rows lie where nothing is aligned.
      const int64_t odd = random() % 2 ? stride + 5 : stride;
      GuardedValues<uint8_t> some(size_t((rows - 1) * odd + stride));
      for (int r = 0; r < rows; ++r)
        memcpy(some.data() + r * odd, bytes.data() + (first + r) * stride, size_t(stride));
      GuardedValues<float> out(size_t(rows) * n);
      PanelLinearArgs args = linear(desc, packed.data(), some.data(), odd, rows, out.data());
      args.bias = bias.data();
      args.residual = {residual.data() + size_t(first) * n, int64_t(n)};
      for (unsigned stay : {1u, 2u, 5u})
        if (rows <= 8 && rows * args.rowWords <= kStreamWords) {
          launch(panel == Panel::w8a8 ? mlc_stream_w8a8 : mlc_stream_w4a8, {stay, 1, 1}, 256, args);
          same(out.data(), first, rows, " in blocks that stay");
          memset(out.data(), 0xff, out.bytes);
        }
      const size_t which = random() % std::size(kTilings);
      launchTiles(args, panel, kTilings[which]);
      same(out.data(), first, rows, " by tiling " + std::to_string(which));
    }
  }
}

TEST_P(BytesTest, GatesHaveTheSameSums) {
  const BytesCase &c = GetParam();
  Random random(3);
  for (auto [n, k] : {std::pair<uint64_t, uint64_t>{32, 96}, {80, 384}, {16, 1344}}) {
    const fb::WeightDesc half(n, k, c.group, c.format, false);
    const QuantizedRow row = cpu::quantizedRow(half);
    const size_t matrix = *cpu::packedBytes(half);
    const Panel panel = panelOf(half);
    GuardedValues<uint8_t> packed(2 * matrix);
    fill(random, half, packed.data());
    fill(random, half, packed.data() + matrix);
    for (int rows : {1, 3, 8, 70}) {
      const int64_t stride = int64_t(row.bytes);
      GuardedValues<uint8_t> bytes(size_t(rows * stride));
      std::vector<float> x = normals(random, size_t(rows) * k), want(size_t(rows) * n);
      quantizeRows(x.data(), int64_t(k), bytes.data(), stride, rows, k, row, true);
      for (int r = 0; r < rows; ++r)
        for (uint64_t o = 0; o < n; ++o) {
          // relu: a product with what is 0 or the very number.
          const float gate = product(half, packed.data(), bytes.data() + r * stride, o);
          want[size_t(r) * n + o] =
              (gate > 0 ? gate : 0) * product(half, packed.data() + matrix, bytes.data() + r * stride, o);
        }
      GuardedValues<float> out(size_t(rows) * n);
      PanelLinearArgs args = linear(half, packed.data(), bytes.data(), stride, rows, out.data());
      args.act = Act::relu;
      args.gate = int64_t(matrix);
      for (unsigned stay : {1u, 2u, 5u})
        if (rows <= 8) {
          launch(panel == Panel::w8a8 ? mlc_gate_w8a8 : mlc_gate_w4a8, {stay, 1, 1}, 256, args);
          ASSERT_EQ(0, memcmp(out.data(), want.data(), out.bytes)) << rows << " rows of " << n << " x " << k;
          memset(out.data(), 0xff, out.bytes);
        }
      for (const Tiling &tiling : kTilings) {
        launchTiles(args, panel, tiling);
        ASSERT_EQ(0, memcmp(out.data(), want.data(), out.bytes))
            << rows << " rows of " << n << " x " << k << " by tiling " << &tiling - kTilings;
        memset(out.data(), 0xff, out.bytes);
      }
    }
  }
}

// Where a slice has the whole row, and no group of x several of the weight's, the sums are the CPU's.
TEST_P(BytesTest, ShortRowsHaveTheCpusBits) {
  const BytesCase &c = GetParam();
  Random random(4);
  for (uint64_t k : {32u, 96u, 128u}) {
    if (k == 128 && c.group && c.group < 128)
      continue;
    if (cpu::isBlockPanel(c.format) && k == 128)
      continue;
    const test::Weight weight(random, {c.format, c.group, false}, 48, k);
    const int rows = 11;
    std::vector<float> x = normals(random, rows * k), bias = normals(random, 48), residual = normals(random, rows * 48);
    const std::vector<float> want = test::LinearCase{weight, x, &bias, &residual}.run(0, rows, Isa::portable, 1);
    const QuantizedRow row = cpu::quantizedRow(weight.desc);
    std::vector<uint8_t> bytes(rows * row.bytes), packed(*cpu::packedBytes(weight.desc));
    memcpy(packed.data(), weight.packed.view.as<uint8_t>(), packed.size());
    quantizeRows(x.data(), int64_t(k), bytes.data(), int64_t(row.bytes), rows, k, row, false);
    std::vector<float> out(want.size(), NAN);
    PanelLinearArgs args = linear(weight.desc, packed.data(), bytes.data(), int64_t(row.bytes), rows, out.data());
    args.bias = bias.data();
    args.residual = {residual.data(), 48};
    launchTiles(args, panelOf(weight.desc), kTilings[0]);
    ASSERT_EQ(0, memcmp(out.data(), want.data(), out.size() * sizeof(float))) << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, BytesTest,
                         testing::Values(BytesCase{"int8_row", fb::WeightFormat::panel_int8, 0},
                                         BytesCase{"int8_32", fb::WeightFormat::panel_int8, 32},
                                         BytesCase{"int8_128", fb::WeightFormat::panel_int8, 128},
                                         BytesCase{"q8_0", fb::WeightFormat::panel_q8_0, 0},
                                         BytesCase{"int4_64", fb::WeightFormat::panel_int4, 64},
                                         BytesCase{"int4_128", fb::WeightFormat::panel_int4, 128},
                                         BytesCase{"q4_0", fb::WeightFormat::panel_q4_0, 0}),
                         [](const auto &info) { return std::string(info.param.name); });

} // namespace
