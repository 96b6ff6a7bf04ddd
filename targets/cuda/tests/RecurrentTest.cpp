//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv1d_causal and ssd of the device under the emulator: against double, and the same bits for every split of
// sequences into steps, with rows of all sequences beside each other.
//
#include "runtime/core/Float16.h"
#include "targets/cuda/tests/Sequences.h"
#include "targets/cuda/tests/emulator/Emulator.h"

#include <gtest/gtest.h>

using namespace mlc;
using namespace mlc::cuda;

extern "C" void mlc_conv1d(const ConvArgs &args);
extern "C" void mlc_ssd_128(const SsdArgs &args);
extern "C" void mlc_ssd_256(const SsdArgs &args);

namespace {

struct SsdShape {
  int heads, dim, groups, state;
  bool bf16 = false, logA = true;
};

TEST(Recurrent, SsdAgreesWithF64AndDoesNotDependOnTheSplit) {
  Random random(1);
  for (SsdShape shape : {SsdShape{2, 64, 1, 128},
                         {6, 80, 2, 33, false, false},
                         {3, 5, 3, 7, true},
                         {1, 1, 1, 1},
                         {2, 40, 1, 200},
                         {2, 33, 2, 129, true}}) {
    const std::vector<int64_t> lengths = {90, 47, 1};
    auto heads = size_t(shape.heads), dim = size_t(shape.dim), groups = size_t(shape.groups),
         size = size_t(shape.state), columns = heads * dim;
    std::vector<std::vector<float>> x, dt, b, c;
    for (int64_t length : lengths) {
      x.push_back(normals(random, size_t(length) * columns));
      dt.push_back(normals(random, size_t(length) * heads));
      b.push_back(normals(random, size_t(length) * groups * size));
      c.push_back(normals(random, size_t(length) * groups * size));
    }
    std::vector<float> a = normals(random, heads), d = normals(random, heads), bias = normals(random, heads);
    if (!shape.logA)
      for (float &value : a)
        value = -std::fabs(value);
    auto blocksOf = [&] {
      return Blocks(lengths.size(), 90, int64_t(columns * size * (shape.bf16 ? 2 : 4)),
                    int64_t(columns + groups * size + heads + 3));
    };
    auto runOf = [&](Blocks &blocks) {
      return [&](const std::vector<size_t> &sequences) {
        std::vector<float> xs = gather(blocks, x, columns, sequences), dts = gather(blocks, dt, heads, sequences),
                           bs = gather(blocks, b, groups * size, sequences),
                           cs = gather(blocks, c, groups * size, sequences), out(xs.size(), NAN);
        SsdArgs args{};
        args.step = blocks.step();
        args.state = blocks.state();
        args.x = {xs.data(), int64_t(columns)};
        args.dt = {dts.data(), int64_t(heads)};
        args.b = {bs.data(), int64_t(groups * size)};
        args.c = {cs.data(), int64_t(groups * size)};
        args.a = a.data(), args.d = d.data(), args.dtBias = bias.data();
        args.out = {out.data(), int64_t(columns)};
        args.heads = shape.heads, args.headDim = shape.dim, args.groups = shape.groups, args.size = shape.state;
        args.dtMin = 0.01f, args.dtMax = 2;
        args.logA = shape.logA, args.bf16State = shape.bf16;
        EmulatedDim grid{unsigned(shape.heads * ((shape.dim + 31) / 32)), unsigned(sequences.size()), 1};
        emulator::launch(grid, 256, [&] { (shape.state <= 128 ? mlc_ssd_128 : mlc_ssd_256)(args); });
        return out;
      };
    };
    std::vector<std::vector<float>> whole;
    for (size_t s = 0; s < lengths.size(); ++s) {
      Blocks blocks = blocksOf();
      std::vector<int64_t> only(lengths.size());
      only[s] = lengths[s];
      blocks.begin(only);
      whole.push_back(runOf(blocks)({s}));
    }
    Blocks blocks = blocksOf();
    std::vector<std::vector<float>> parts = inSteps(random, lengths, blocks, runOf(blocks));
    for (size_t s = 0; s < lengths.size(); ++s) {
      ASSERT_EQ(parts[s].size(), whole[s].size());
      ASSERT_EQ(0, memcmp(parts[s].data(), whole[s].data(), whole[s].size() * 4)) << shape.dim << ", sequence " << s;
      for (size_t head = 0; head < heads; ++head) {
        std::vector<double> h(dim * size);
        size_t group = head / (heads / groups);
        for (size_t t = 0; t < size_t(lengths[s]); ++t) {
          double v = double(dt[s][t * heads + head]) + bias[head];
          double step = std::min(std::max(std::log1p(std::exp(v)), 0.01), 2.0);
          double decay = std::exp(step * (shape.logA ? -std::exp(double(a[head])) : a[head]));
          const float *bt = b[s].data() + (t * groups + group) * size, *ct = c[s].data() + (t * groups + group) * size;
          for (size_t i = 0; i < dim; ++i) {
            double input = x[s][(t * heads + head) * dim + i], sum = d[head] * input;
            for (size_t n = 0; n < size; ++n) {
              double &value = h[i * size + n];
              value = decay * value + step * input * bt[n];
              sum += value * ct[n];
            }
            ASSERT_NEAR(whole[s][(t * heads + head) * dim + i], sum,
                        (shape.bf16 ? 2e-2 : 1e-5) * std::sqrt(double(size)) * 4)
                << "head " << head << " of " << shape.dim << ", position " << t;
          }
          if (shape.bf16 && t % kStatePage == kStatePage - 1)
            for (double &value : h)
              value = bf16ToF32(f32ToBf16(float(value)));
        }
      }
    }
  }
}

TEST(Recurrent, ConvAgreesWithF64AndDoesNotDependOnTheSplit) {
  Random random(2);
  for (auto [channels, kernel] : {std::pair<size_t, int>{300, 4}, {17, 2}, {5, 20}, {1, 64}}) {
    const std::vector<int64_t> lengths = {70, 35, 1};
    std::vector<std::vector<float>> x;
    for (int64_t length : lengths)
      x.push_back(normals(random, size_t(length) * channels));
    std::vector<float> weight = normals(random, channels * size_t(kernel)), bias = normals(random, channels);
    auto blocksOf = [&] {
      return Blocks(lengths.size(), 70, int64_t(channels) * (kernel - 1) * 4, int64_t(channels + 1));
    };
    auto runOf = [&](Blocks &blocks) {
      return [&](const std::vector<size_t> &sequences) {
        std::vector<float> xs = gather(blocks, x, channels, sequences), out(xs.size(), NAN);
        ConvArgs args{};
        args.step = blocks.step();
        args.state = blocks.state();
        args.x = {xs.data(), int64_t(channels)};
        args.weight = weight.data(), args.bias = bias.data();
        args.out = {out.data(), int64_t(channels)};
        args.channels = int64_t(channels), args.kernel = kernel;
        args.act = Act::silu;
        EmulatedDim grid{unsigned((channels + 255) / 256), unsigned(blocks.position.size()), 1};
        emulator::launch(grid, 256, [&] { mlc_conv1d(args); });
        return out;
      };
    };
    Blocks blocks = blocksOf();
    std::vector<std::vector<float>> parts = inSteps(random, lengths, blocks, runOf(blocks));
    for (size_t s = 0; s < lengths.size(); ++s) {
      Blocks alone = blocksOf();
      std::vector<int64_t> only(lengths.size());
      only[s] = lengths[s];
      alone.begin(only);
      std::vector<float> whole = runOf(alone)({s});
      ASSERT_EQ(parts[s].size(), whole.size());
      ASSERT_EQ(0, memcmp(parts[s].data(), whole.data(), whole.size() * 4)) << "kernel " << kernel;
      for (size_t t = 0; t < size_t(lengths[s]); ++t)
        for (size_t i = 0; i < channels; ++i) {
          double sum = bias[i];
          for (int j = 0; j < kernel; ++j)
            if (int64_t p = int64_t(t) - kernel + 1 + j; p >= 0)
              sum += double(weight[i * size_t(kernel) + size_t(j)]) * x[s][size_t(p) * channels + i];
          ASSERT_NEAR(whole[t * channels + i], sum / (1 + std::exp(-sum)), 3e-5) << "kernel " << kernel << ", " << t;
        }
    }
  }
}

} // namespace
