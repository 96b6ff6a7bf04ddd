//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd on tensor cores under the emulator: against double with the same factors rounded, the same bits for every split
// of sequences into steps, and rows that what is not finite must not reach. Everything lies in front of pages that
// nothing may touch.
//
#include "runtime/core/Float16.h"
#include "targets/cuda/tests/Sequences.h"
#include "targets/cuda/tests/emulator/Emulator.h"

#include <gtest/gtest.h>

using namespace mlc;
using namespace mlc::cuda;

extern "C" void mlc_ssd_tile_128(const SsdArgs &args);
extern "C" void mlc_ssd_tile_256(const SsdArgs &args);
extern "C" void mlc_ssd_pack_128(const SsdArgs &args);
extern "C" void mlc_ssd_pack_256(const SsdArgs &args);

namespace {

double rounded(double value) { return bf16ToF32(f32ToBf16(float(value))); }

struct Shape {
  size_t heads, dim, groups, state;
  bool bf16 = false, logA = true;
  size_t pad = 0; // Values between rows.
};

Shape draw(Random &random) {
  Shape shape;
  shape.groups = 1 + random() % 3;
  shape.heads = shape.groups * (1 + random() % 2);
  shape.dim = random() % 2 ? 1 + random() % 80 : 4 * (1 + random() % 20);
  shape.state = random() % 2 ? 1 + random() % 256 : 4 * (1 + random() % 32);
  shape.bf16 = random() % 2;
  shape.logA = random() % 4;
  shape.pad = random() % 3 ? 0 : 1 + random() % 4;
  return shape;
}

std::ostream &operator<<(std::ostream &out, const Shape &s) {
  return out << s.heads << " heads of " << s.dim << ", " << s.groups << " groups, state " << s.state
             << (s.bf16 ? " in bf16" : "") << (s.logA ? "" : ", plain rates") << ", " << s.pad << " between rows";
}

/// Sequences of tokens with a head's numbers.
struct Scan {
  Shape shape;
  std::vector<int64_t> lengths;
  std::vector<std::vector<float>> x, dt, b, c; // Of each sequence.
  std::vector<float> a, d, bias;

  Scan(const Shape &shape, std::vector<int64_t> tokens, Random &random) : shape(shape), lengths(std::move(tokens)) {
    for (int64_t length : lengths) {
      x.push_back(normals(random, size_t(length) * columns()));
      dt.push_back(normals(random, size_t(length) * shape.heads));
      b.push_back(normals(random, size_t(length) * states()));
      c.push_back(normals(random, size_t(length) * states()));
    }
    a = normals(random, shape.heads), d = normals(random, shape.heads), bias = normals(random, shape.heads);
    if (!shape.logA)
      for (float &value : a)
        value = -std::fabs(value);
  }
  size_t columns() const { return shape.heads * shape.dim; }
  size_t states() const { return shape.groups * shape.state; }

  Blocks blocks() const {
    const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
    return {lengths.size(), longest, int64_t(columns() * shape.state * (shape.bf16 ? 2 : 4)),
            int64_t(columns() + states() + shape.heads + shape.pad)};
  }

  /// A step's rows, with NaN between them.
  GuardedVector<float> rowsOf(const Blocks &blocks, const std::vector<std::vector<float>> &source, size_t width,
                              const std::vector<size_t> &sequences) const {
    const std::vector<float> values = gather(blocks, source, width, sequences);
    const size_t rows = blocks.position.size(), stride = width + shape.pad;
    GuardedVector<float> out((rows - 1) * stride + width, NAN);
    for (size_t row = 0; row < rows; ++row)
      std::copy_n(values.begin() + int64_t(row * width), width, out.begin() + int64_t(row * stride));
    return out;
  }

  std::vector<float> run(Blocks &blocks, const std::vector<size_t> &sequences) const {
    const size_t rows = blocks.position.size(), outStride = columns() + shape.pad;
    GuardedVector<float> xs = rowsOf(blocks, x, columns(), sequences), dts = rowsOf(blocks, dt, shape.heads, sequences),
                         bs = rowsOf(blocks, b, states(), sequences), cs = rowsOf(blocks, c, states(), sequences),
                         out((rows - 1) * outStride + columns(), 12345);
    SsdArgs args{};
    args.step = blocks.step();
    args.state = blocks.state();
    args.x = {xs.data(), int64_t(columns() + shape.pad)};
    args.dt = {dts.data(), int64_t(shape.heads + shape.pad)};
    args.b = {bs.data(), int64_t(states() + shape.pad)};
    args.c = {cs.data(), int64_t(states() + shape.pad)};
    args.a = a.data(), args.d = d.data(), args.dtBias = bias.data();
    args.out = {out.data(), int64_t(outStride)};
    args.heads = int32_t(shape.heads), args.headDim = int32_t(shape.dim), args.groups = int32_t(shape.groups);
    args.size = int32_t(shape.state);
    args.dtMin = 0.01f, args.dtMax = 2;
    args.logA = shape.logA, args.bf16State = shape.bf16;
    const EmulatedDim grid{unsigned(shape.heads * ((shape.dim + kSsdTileColumns - 1) / kSsdTileColumns)),
                           unsigned(sequences.size()), 1};
    const bool large = shape.state > 128;
    const auto bytes = unsigned(ssdTileBytes(large ? 256 : 128)), pages = unsigned(rows / kStatePage + 2);
    // As steps of many tokens have it; 16 bytes are a copy.
    GuardedVector<uint8_t> packed(
        rows > 8 ? (rows / kStatePage + 2 * sequences.size()) * shape.groups * ssdPackedBytes(large ? 256 : 128) : 0,
        0xff);
    if (!packed.empty()) {
      args.packed = packed.data();
      emulator::launch(
          {pages, unsigned(sequences.size()), unsigned(shape.groups)}, kSsdPackThreads,
          [&] { (large ? mlc_ssd_pack_256 : mlc_ssd_pack_128)(args); }, bytes);
    }
    emulator::launch(grid, kSsdTileThreads, [&] { (large ? mlc_ssd_tile_256 : mlc_ssd_tile_128)(args); }, bytes);
    std::vector<float> dense;
    for (size_t row = 0; row < rows; ++row) {
      const float *begin = out.data() + row * outStride;
      dense.insert(dense.end(), begin, begin + columns());
      for (size_t i = columns(); row + 1 < rows && i < outStride; ++i)
        EXPECT_EQ(begin[i], 12345) << "between rows";
    }
    return dense;
  }

  /// A sequence alone, in steps of `each` tokens.
  std::vector<float> alone(size_t s, int64_t each) const {
    Blocks mine = blocks();
    std::vector<float> out;
    while (mine.fed[s] < lengths[s]) {
      std::vector<int64_t> next(lengths.size());
      next[s] = std::min(each, lengths[s] - mine.fed[s]);
      mine.begin(next);
      const std::vector<float> rows = run(mine, {s});
      out.insert(out.end(), rows.begin(), rows.end());
    }
    return out;
  }

  /// In double, of one head: f(token, column, value, sum of the terms' sizes).
  template <typename F> void evaluate(size_t s, size_t head, const F &f) const {
    const size_t group = head / (shape.heads / shape.groups), dim = shape.dim, size = shape.state;
    const double rate = shape.logA ? -std::exp(double(a[head])) : a[head];
    std::vector<double> base(dim * size), cum, step;
    auto xAt = [&](size_t t, size_t p) { return double(x[s][(t * shape.heads + head) * dim + p]); };
    auto bAt = [&](size_t t, size_t n) { return rounded(b[s][(t * shape.groups + group) * size + n]); };
    auto cAt = [&](size_t t, size_t n) { return rounded(c[s][(t * shape.groups + group) * size + n]); };
    for (size_t t = 0, first = 0; t < size_t(lengths[s]); ++t) {
      if (t % kStatePage == 0)
        cum.clear(), step.clear(), first = t;
      const double v = double(dt[s][t * shape.heads + head]) + bias[head];
      step.push_back(std::min(std::max(std::log1p(std::exp(v)), double(0.01f)), 2.0));
      cum.push_back((cum.empty() ? 0 : cum.back()) + step.back() * rate);
      std::vector<double> factors;
      for (size_t j = 0; j < step.size(); ++j) {
        double product = 0;
        for (size_t n = 0; n < size; ++n)
          product += cAt(t, n) * bAt(first + j, n);
        factors.push_back(rounded(product * std::exp(cum.back() - cum[j]) * step[j]));
      }
      for (size_t p = 0; p < dim; ++p) {
        double sum = 0, sizes = 0;
        auto add = [&](double term) { sum += term, sizes += std::fabs(term); };
        for (size_t n = 0; n < size; ++n)
          add(cAt(t, n) * rounded(base[p * size + n]) * std::exp(cum.back()));
        for (size_t j = 0; j < factors.size(); ++j)
          add(factors[j] * rounded(xAt(first + j, p)));
        add(d[head] * xAt(t, p));
        f(t, p, sum, sizes);
      }
      if (t % kStatePage != kStatePage - 1)
        continue;
      for (size_t p = 0; p < dim; ++p)
        for (size_t n = 0; n < size; ++n) {
          double sum = base[p * size + n] * std::exp(cum.back());
          for (size_t j = 0; j < step.size(); ++j)
            sum += bAt(first + j, n) * rounded(std::exp(cum.back() - cum[j]) * step[j] * xAt(first + j, p));
          base[p * size + n] = shape.bf16 ? rounded(sum) : sum;
        }
    }
  }
};

void expectSameBits(const std::vector<float> &got, const std::vector<float> &want, const Shape &shape) {
  ASSERT_EQ(got.size(), want.size());
  EXPECT_EQ(0, memcmp(got.data(), want.data(), want.size() * sizeof(float))) << shape;
}

TEST(SsdTile, AgreesWithDoubleAndDoesNotDependOnTheSplit) {
  Random random(3);
  std::vector<Shape> shapes = {{2, 64, 1, 128}, {2, 80, 2, 33, false, false, 1}, {3, 5, 3, 7, true},
                               {1, 1, 1, 1},    {1, 128, 1, 256, true},          {2, 33, 2, 129, true, true, 3}};
  while (shapes.size() < 16)
    shapes.push_back(draw(random));
  for (const Shape &shape : shapes) {
    const Scan scan(shape, {70, 35, 1, 16}, random);
    Blocks blocks = scan.blocks();
    const std::vector<std::vector<float>> parts =
        inSteps(random, scan.lengths, blocks,
                [&](const std::vector<size_t> &sequences) { return scan.run(blocks, sequences); });
    double total = 0, count = 0;
    for (size_t s = 0; s < scan.lengths.size(); ++s) {
      const std::vector<float> whole = scan.alone(s, scan.lengths[s]);
      expectSameBits(parts[s], whole, shape);
      expectSameBits(scan.alone(s, 1), whole, shape);
      for (size_t head = 0; head < shape.heads; ++head)
        scan.evaluate(s, head, [&](size_t t, size_t p, double value, double sizes) {
          const double error = std::fabs(whole[(t * shape.heads + head) * shape.dim + p] - value) / sizes;
          // Of a factor that rounds the other way.
          ASSERT_LT(error, 8e-3) << shape << ", head " << head << ", token " << t << ", column " << p;
          total += error, count += 1;
        });
    }
    // Such factors are few.
    EXPECT_LT(total / count, 3e-5) << shape;
  }
}

TEST(SsdTile, RollsBack) {
  Random random(4);
  for (const Shape &shape : {Shape{2, 24, 1, 64}, Shape{1, 7, 1, 130, true, true, 1}}) {
    const Scan scan(shape, {40}, random);
    Scan other = scan;
    // From token 18 on the others were drafts.
    for (size_t t = 18; t < 22; ++t)
      for (auto [values, width] : {std::pair(&other.x, scan.columns()),
                                   {&other.dt, shape.heads},
                                   {&other.b, scan.states()},
                                   {&other.c, scan.states()}})
        for (size_t i = 0; i < width; ++i)
          (*values)[0][t * width + i] += 1;
    Blocks blocks = scan.blocks();
    blocks.begin({17});
    std::vector<float> got = scan.run(blocks, {0});
    blocks.begin({5});
    const std::vector<float> drafts = other.run(blocks, {0});
    got.insert(got.end(), drafts.begin(), drafts.begin() + int64_t(scan.columns()));
    blocks.fed[0] = 18;
    blocks.begin({22});
    const std::vector<float> rest = scan.run(blocks, {0});
    got.insert(got.end(), rest.begin(), rest.end());
    expectSameBits(got, scan.alone(0, 40), shape);
  }
}

TEST(SsdTile, WhatIsNotFiniteReachesNoRowThatMustNotSeeIt) {
  Random random(5);
  for (const Shape &shape : {Shape{1, 20, 1, 40}, Shape{2, 64, 1, 128, true}, Shape{1, 3, 1, 129}}) {
    const Scan scan(shape, {48}, random);
    const std::vector<float> clean = scan.alone(0, 48);
    const size_t columns = scan.columns();
    for (float bad : {NAN, INFINITY, -INFINITY, 3.4e38f})
      for (size_t t : {size_t(3), size_t(20), size_t(31), size_t(46)}) {
        auto expectRows = [&](const Scan &broken, const auto &mayDiffer, const auto &mustBreak, const char *what) {
          const std::vector<float> got = broken.alone(0, 48);
          expectSameBits(broken.alone(0, bad > 0 ? 1 : 7), got, shape);
          for (size_t row = 0; row < 48; ++row)
            for (size_t i = 0; i < columns; ++i) {
              if (!mayDiffer(row, i))
                ASSERT_EQ(got[row * columns + i], clean[row * columns + i])
                    << shape << ": " << what << " " << bad << " at " << t << ", row " << row << ", column " << i;
              if (mustBreak(row, i))
                ASSERT_FALSE(std::isfinite(got[row * columns + i]))
                    << shape << ": " << what << " " << bad << " at " << t << ", row " << row << ", column " << i;
            }
        };
        auto later = [&](size_t row, size_t) { return row >= t; };
        auto same = [&](size_t row, size_t) { return row == t; };
        auto inPage = [&](size_t row, size_t) { return row >= t && row / kStatePage == t / kStatePage; };
        Scan broken = scan;
        const size_t p = shape.dim - 1;
        broken.x[0][t * columns + p] = bad;
        auto ofColumn = [&](size_t row, size_t i) { return row >= t && i == p; };
        auto ofColumnInPage = [&](size_t row, size_t i) { return inPage(row, i) && i == p; };
        expectRows(broken, ofColumn, ofColumnInPage, "x");
        broken = scan;
        broken.b[0][t * scan.states()] = bad;
        expectRows(broken, later, inPage, "b");
        broken = scan;
        broken.c[0][t * scan.states()] = bad;
        expectRows(broken, same, same, "c");
        if (!std::isnan(bad))
          continue;
        broken = scan;
        broken.dt[0][t * shape.heads] = bad;
        expectRows(broken, later, [&](size_t row, size_t i) { return later(row, i) && i < shape.dim; }, "dt");
      }
  }
}

} // namespace
