//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd over the states of a RecurrentStore: against double, and bitwise over splits into steps, ragged mixes, threads,
// rollbacks, forks and transfers.
//
#include "targets/cpu/tests/RecurrentSupport.h"

#include <cmath>
#include <cstring>

using namespace mlc;
using namespace mlc::test;

namespace {

double toBf16(double value) { return double(bf16ToF32(f32ToBf16(float(value)))); }

struct Shape {
  int64_t heads, dim, groups, state;
  DType dtype = DType::f32;
  fb::Products products = fb::Products::f32;
  bool logA = true;
  float low = 0, high = INFINITY;
};

/// Inputs of sequences and the scan over them.
struct Scan : Recurrent {
  Shape shape;
  std::vector<std::vector<float>> x, dt, b, c;
  std::vector<float> a, d, bias;

  Scan(Random &random, Shape shape, std::vector<int64_t> lengths, int64_t checkpointEvery = 0) : shape(shape) {
    create(fb::StateKind::ssm, shape.dtype, {uint64_t(shape.heads), uint64_t(shape.dim), uint64_t(shape.state)},
           uint64_t(shape.heads * shape.dim + shape.groups * shape.state + shape.heads), uint64_t(shape.groups),
           lengths.size(), *std::max_element(lengths.begin(), lengths.end()), checkpointEvery);
    for (int64_t length : lengths) {
      x.push_back(normals(random, size_t(length * shape.heads * shape.dim)));
      dt.push_back(normals(random, size_t(length * shape.heads), 2.0f));
      b.push_back(normals(random, size_t(length * shape.groups * shape.state)));
      c.push_back(normals(random, size_t(length * shape.groups * shape.state)));
    }
    a = normals(random, size_t(shape.heads));
    if (!shape.logA)
      for (float &value : a)
        value = -std::abs(value);
    d = normals(random, size_t(shape.heads));
    bias = normals(random, size_t(shape.heads));
  }

  Tensor rowsOf(const std::vector<std::vector<float>> &source, const std::vector<BatchSegment> &list, int64_t columns,
                int64_t padding) const {
    std::vector<float> rows;
    int64_t count = 0;
    for (const BatchSegment &s : list) {
      const float *begin = source[s.sequence].data() + s.firstPosition * columns;
      rows.insert(rows.end(), begin, begin + s.length * columns);
      count += s.length;
    }
    return Tensor::matrix(rows, count, columns, padding, padding);
  }

  std::vector<float> run(const std::vector<BatchSegment> &list, Isa isa, unsigned threads) {
    fb::SsdAttrs attrs(uint32_t(shape.heads), uint32_t(shape.dim), uint32_t(shape.groups), uint32_t(shape.state),
                       shape.low, shape.high, shape.logA, shape.products);
    Tensor xs = rowsOf(x, list, shape.heads * shape.dim, 3), dts = rowsOf(dt, list, shape.heads, 1),
           bs = rowsOf(b, list, shape.groups * shape.state, 2), cs = rowsOf(c, list, shape.groups * shape.state, 5);
    Tensor as = Tensor::vector(a), ds = Tensor::vector(d), biases = Tensor::vector(bias),
           out(DType::f32, {xs.view.dims[0], shape.heads * shape.dim}, 1);
    Call call("ssd", attrs);
    call.inputs = {&xs, &dts, &bs, &cs, &as, &ds, &biases};
    call.outputs = {&out};
    call.tokens = {true, true, true, true, false, false, false};
    step(call, list, isa, threads);
    return out.values();
  }

  double stepSize(size_t s, int64_t t, int64_t h) const {
    double v = double(dt[s][size_t(t * shape.heads + h)]) + double(bias[size_t(h)]);
    double soft = v > 20 ? v : std::log1p(std::exp(v));
    return std::min(std::max(soft, double(shape.low)), double(shape.high));
  }
  double rate(int64_t h) const { return shape.logA ? -std::exp(double(a[size_t(h)])) : double(a[size_t(h)]); }

  /// The plain recurrence in double: [position][heads * dim].
  std::vector<double> recurrence(size_t s) const {
    int64_t positions = int64_t(dt[s].size()) / shape.heads, p = shape.dim, n = shape.state;
    std::vector<double> y(size_t(positions * shape.heads * p)), h(size_t(p * n));
    for (int64_t head = 0; head < shape.heads; ++head) {
      std::fill(h.begin(), h.end(), 0);
      int64_t group = head / (shape.heads / shape.groups);
      for (int64_t t = 0; t < positions; ++t) {
        double step = stepSize(s, t, head), decay = std::exp(step * rate(head));
        const float *bt = b[s].data() + (t * shape.groups + group) * n, *ct = c[s].data() + (bt - b[s].data());
        for (int64_t i = 0; i < p; ++i) {
          double input = double(x[s][size_t((t * shape.heads + head) * p + i)]), sum = 0;
          for (int64_t k = 0; k < n; ++k) {
            double &value = h[size_t(i * n + k)];
            value = decay * value + step * input * double(bt[k]);
            sum += value * double(ct[k]);
          }
          y[size_t((t * shape.heads + head) * p + i)] = sum + double(d[size_t(head)]) * input;
        }
      }
    }
    return y;
  }

  /// The formula of docs/kernels.md in double, page by page, with its roundings.
  std::vector<double> paged(size_t s) const {
    bool rounds = shape.products == fb::Products::bf16;
    auto f = [&](double v) { return rounds ? toBf16(v) : v; };
    int64_t positions = int64_t(dt[s].size()) / shape.heads, p = shape.dim, n = shape.state;
    std::vector<double> y(size_t(positions * shape.heads * p));
    for (int64_t head = 0; head < shape.heads; ++head) {
      int64_t group = head / (shape.heads / shape.groups);
      auto bAt = [&](int64_t t, int64_t k) { return f(double(b[s][size_t((t * shape.groups + group) * n + k)])); };
      auto cAt = [&](int64_t t, int64_t k) { return f(double(c[s][size_t((t * shape.groups + group) * n + k)])); };
      auto xAt = [&](int64_t t, int64_t i) { return double(x[s][size_t((t * shape.heads + head) * p + i)]); };
      std::vector<double> base(size_t(p * n));
      for (int64_t start = 0; start < positions; start += kRecurrentPage) {
        int64_t end = std::min(start + kRecurrentPage, positions);
        std::vector<double> cum;
        for (int64_t t = start; t < end; ++t)
          cum.push_back((cum.empty() ? 0 : cum.back()) + stepSize(s, t, head) * rate(head));
        for (int64_t t = start; t < end; ++t)
          for (int64_t i = 0; i < p; ++i) {
            double sum = 0;
            for (int64_t k = 0; k < n; ++k)
              sum += cAt(t, k) * f(base[size_t(i * n + k)]);
            sum *= std::exp(cum[size_t(t - start)]);
            for (int64_t j = start; j <= t; ++j) {
              double cb = 0;
              for (int64_t k = 0; k < n; ++k)
                cb += cAt(t, k) * bAt(j, k);
              double g = cb * std::exp(cum[size_t(t - start)] - cum[size_t(j - start)]) * stepSize(s, j, head);
              sum += f(g) * f(xAt(j, i));
            }
            y[size_t((t * shape.heads + head) * p + i)] = sum + double(d[size_t(head)]) * xAt(t, i);
          }
        if (end - start < kRecurrentPage)
          break;
        for (int64_t i = 0; i < p; ++i)
          for (int64_t k = 0; k < n; ++k) {
            double &value = base[size_t(i * n + k)];
            value *= std::exp(cum.back());
            for (int64_t j = start; j < end; ++j)
              value += bAt(j, k) * f(std::exp(cum.back() - cum[size_t(j - start)]) * stepSize(s, j, head) * xAt(j, i));
            if (shape.dtype == DType::bf16)
              value = toBf16(value);
          }
      }
    }
    return y;
  }
};

std::vector<Shape> scanShapes(Random &random) {
  std::vector<Shape> shapes = {{2, 64, 1, 128},
                               {4, 16, 2, 16, DType::f32, fb::Products::f32, false, 0.01f, 1.5f},
                               {3, 5, 3, 7},
                               {6, 80, 2, 33},
                               {1, 1, 1, 1}};
  for (int i = 0; i < 4; ++i) {
    int64_t groups = uniform(random, 1, 3);
    shapes.push_back({groups * uniform(random, 1, 3), uniform(random, 1, 70), groups, uniform(random, 1, 70)});
  }
  return shapes;
}

const std::vector<std::pair<DType, fb::Products>> kKinds = {{DType::f32, fb::Products::f32},
                                                            {DType::f32, fb::Products::bf16},
                                                            {DType::bf16, fb::Products::f32},
                                                            {DType::bf16, fb::Products::bf16}};

} // namespace

TEST(Ssd, MatchesDouble) {
  Random random(1);
  for (Shape shape : scanShapes(random))
    for (auto [dtype, products] : kKinds) {
      shape.dtype = dtype;
      shape.products = products;
      Scan scan(random, shape, {70, 16, 1});
      bool exact = dtype == DType::f32 && products == fb::Products::f32;
      std::vector<double> expected;
      for (uint32_t s : {2u, 0u, 1u}) {
        std::vector<double> own = exact ? scan.recurrence(s) : scan.paged(s);
        expected.insert(expected.end(), own.begin(), own.end());
      }
      double largest = 0;
      for (double y : expected)
        largest = std::max(largest, std::abs(y));
      for (Isa isa : forms()) {
        scan.clear();
        std::vector<float> got = scan.run(scan.segments({70, 16, 1}, {2, 0, 1}), isa, 2);
        ASSERT_EQ(got.size(), expected.size());
        double errors = 0;
        for (size_t i = 0; i < got.size(); ++i) {
          double error = std::abs(double(got[i]) - expected[i]);
          ASSERT_LE(error, largest * (exact ? 2e-6 : 1e-2))
              << isaName(isa) << " heads " << shape.heads << " dim " << shape.dim << " groups " << shape.groups
              << " state " << shape.state << " type " << int(dtype) << " products " << int(products) << " value " << i;
          errors += error;
        }
        // A last bit may round a factor the other way, but seldom.
        EXPECT_LE(errors / double(got.size()), largest * (exact ? 3e-7 : 1e-4)) << isaName(isa);
      }
    }
}

// Prefill in one step, split at random places, in ragged mixes, on 1 to 4 threads, with rollbacks into the kept pages
// and to checkpoints, forks and transfers on the way: the same bits.
TEST(Ssd, BatchInvariance) {
  Random random(2);
  for (Shape shape : {Shape{4, 20, 2, 24}, Shape{2, 64, 1, 128}, Shape{3, 17, 1, 9}})
    for (auto [dtype, products] : kKinds) {
      shape.dtype = dtype;
      shape.products = products;
      const std::vector<int64_t> lengths = {130, 75, 33};
      Scan scan(random, shape, lengths, 48);
      int64_t columns = shape.heads * shape.dim;
      for (Isa isa : forms()) {
        scan.clear();
        std::vector<std::vector<float>> whole;
        for (uint32_t s = 0; s < 3; ++s) {
          std::vector<int64_t> only(3);
          only[s] = lengths[s];
          whole.push_back(scan.run(scan.segments(only, {0, 1, 2}), isa, 2));
        }
        scan.clear();
        for (int trial = 0; trial < 60; ++trial) {
          std::vector<int64_t> next(3);
          std::vector<uint32_t> order = {0, 1, 2};
          std::shuffle(order.begin(), order.end(), random);
          for (uint32_t s = 0; s < 3; ++s) {
            int64_t left = lengths[s] - scan.fed[s], position = scan.fed[s];
            switch (uniform(random, 0, 9)) {
            case 0: // Back into the kept pages.
              scan.rollback(s, uniform(random, scan.store->rollbackLimit(s, position), position));
              break;
            case 1: { // Back to whatever can be reached below, perhaps a checkpoint.
              int64_t reached = scan.store->reachable(s, position, uniform(random, 0, position));
              ASSERT_GE(reached, 0);
              scan.rollback(s, reached);
              break;
            }
            case 2: // A fork that goes its own way first, and one that is restored.
              scan.store->share(s, 3, position);
              scan.store->share(3, 4, position);
              if (left) {
                scan.run(scan.segments(
                             [&] {
                               std::vector<int64_t> one(3);
                               one[s] = std::min<int64_t>(left, 5);
                               return one;
                             }(),
                             {0, 1, 2}),
                         isa, 1);
                scan.store->clear(s);
                scan.store->share(3, s, position);
                scan.fed[s] = position;
              }
              scan.store->clear(3);
              scan.store->clear(4);
              break;
            case 3:
              scan.transfer(s, random);
              break;
            default:
              next[s] = std::min(left, uniform(random, 0, 1) ? uniform(random, 0, 3) : uniform(random, 0, 40));
            }
          }
          std::vector<BatchSegment> list = scan.segments(next, order);
          if (list.empty())
            continue;
          std::vector<float> got = scan.run(list, isa, unsigned(trial % 4 + 1)), expected;
          for (const BatchSegment &part : list) {
            auto begin = whole[part.sequence].begin() + part.firstPosition * columns;
            expected.insert(expected.end(), begin, begin + part.length * columns);
          }
          ASSERT_TRUE(sameBits(got, expected))
              << isaName(isa) << " dim " << shape.dim << " type " << int(dtype) << " trial " << trial;
        }
        scan.clear();
        EXPECT_EQ(scan.store->usedBytes(), 0u);
      }
    }
}

// What a later token holds, NaN and infinity included, never reaches a row, not even in the same page of the same step.
TEST(Ssd, LaterTokensDoNotMatter) {
  Random random(3);
  for (auto [dtype, products] : kKinds)
    for (float poison : {NAN, INFINITY}) {
      Scan scan(random, {2, 20, 1, 18, dtype, products}, {60});
      for (Isa isa : forms()) {
        scan.clear();
        std::vector<float> before = scan.run(scan.segments({60}, {0}), isa, 1);
        auto clean = scan.x[0];
        for (int64_t i = 0; i < 40; ++i)
          scan.x[0][size_t(37 * 40 + i)] = poison;
        scan.clear();
        std::vector<float> after = scan.run(scan.segments({60}, {0}), isa, 1);
        scan.x[0] = clean;
        EXPECT_FALSE(std::isfinite(after[37 * 40]));
        before.resize(37 * 40);
        after.resize(37 * 40);
        EXPECT_TRUE(sameBits(before, after)) << isaName(isa) << " products " << int(products);
      }
    }
}

TEST(Ssd, CanonicalFormIsHeadDimState) {
  Random random(4);
  for (DType dtype : {DType::f32, DType::bf16}) {
    Scan scan(random, {3, 21, 1, 13, dtype}, {16});
    const RecurrentLayout &layout = cpuTarget().recurrentLayout;
    size_t elements = 3 * 21 * 13, size = dtypeSize(dtype);
    ASSERT_EQ(recurrentCanonicalBytes(*scan.schema), elements * size);
    std::vector<uint8_t> canonical(elements * size), again(elements * size), base(layout.baseBytes(*scan.schema), 0xff);
    for (uint8_t &byte : canonical)
      byte = uint8_t(random());
    layout.fromCanonical(*scan.schema, base.data(), canonical.data());
    layout.toCanonical(*scan.schema, base.data(), again.data());
    EXPECT_EQ(canonical, again);
    // What the kernel leaves is exported the same way.
    scan.run(scan.segments({16}, {0}), machineIsa(), 1);
    RecurrentStateView view = scan.store->view(0);
    layout.toCanonical(*scan.schema, view.base(0), again.data());
    double value = 0;
    for (int64_t t = 0; t < 16; ++t)
      value = value * std::exp(scan.stepSize(0, t, 2) * scan.rate(2)) +
              scan.stepSize(0, t, 2) * double(scan.x[0][size_t((t * 3 + 2) * 21 + 20)]) *
                  double(scan.b[0][size_t(t * 13 + 12)]);
    uint8_t *last = again.data() + (elements - 1) * size;
    float got;
    uint16_t half;
    memcpy(&half, last, 2);
    memcpy(&got, last, size == 4 ? 4 : 2);
    EXPECT_NEAR(size == 4 ? got : bf16ToF32(half), value, std::abs(value) * (size == 4 ? 1e-5 : 8e-3));
  }
}

TEST(Ssd, ChecksItsOperands) {
  Random random(5);
  Scan scan(random, {4, 8, 2, 6}, {4});
  fb::SsdAttrs good(4, 8, 2, 6, 0, INFINITY, true, fb::Products::f32);
  RecurrentStateView view = scan.store->view(0);
  Tensor x(DType::f32, {4, 32}), dt(DType::f32, {4, 4}), b(DType::f32, {4, 12}), c(DType::f32, {4, 12}),
      v(DType::f32, {4}), out(DType::f32, {4, 32}), wrong(DType::f32, {4, 5});
  auto check = [&](const fb::SsdAttrs &attrs, const Tensor *replaced = nullptr, size_t at = 0) {
    Call call("ssd", attrs);
    call.inputs = {&x, &dt, &b, &c, &v, &v, &v};
    call.outputs = {&out};
    call.tokens = {true, true, true, true, false, false, false};
    call.recurrent = &view;
    if (replaced)
      (at < 7 ? call.inputs[at] : call.outputs[0]) = replaced;
    return call.check();
  };
  EXPECT_EQ(check(good), "");
  for (size_t i = 0; i < 8; ++i)
    EXPECT_NE(check(good, &wrong, i), "") << i;
  for (const fb::SsdAttrs &bad : {fb::SsdAttrs(4, 8, 3, 6, 0, 1, true, fb::Products::f32),
                                  fb::SsdAttrs(4, 8, 0, 6, 0, 1, true, fb::Products::f32),
                                  fb::SsdAttrs(4, 8, 2, 7, 0, 1, true, fb::Products::f32),
                                  fb::SsdAttrs(8, 4, 2, 6, 0, 1, true, fb::Products::f32),
                                  fb::SsdAttrs(4, 8, 4, 6, 0, 1, true, fb::Products::f32),
                                  fb::SsdAttrs(4, 8, 2, 6, 1, 0, true, fb::Products::f32),
                                  fb::SsdAttrs(4, 8, 2, 6, NAN, 1, true, fb::Products::f32),
                                  fb::SsdAttrs(4, 8, 2, 6, 0, NAN, true, fb::Products::f32),
                                  fb::SsdAttrs(4, 8, 2, 6, 0, 1, true, fb::Products(2)),
                                  fb::SsdAttrs(~0u, ~0u, 1, ~0u, 0, 1, true, fb::Products::f32)})
    EXPECT_NE(check(bad), "");
}
