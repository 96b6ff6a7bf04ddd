//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd and conv1d_causal over the states of a RecurrentStore, and gated_rms_norm: against double, and bitwise over
// splits into steps, ragged mixes, threads, rollbacks, forks and transfers.
//
#include "runtime/exec/states/RecurrentStore.h"
#include "targets/cpu/RecurrentBase.h"
#include "targets/cpu/tests/TestSupport.h"

#include <cmath>
#include <cstring>

using namespace mlc;
using namespace mlc::test;

namespace {

double toBf16(double value) { return double(bf16ToF32(f32ToBf16(float(value)))); }

/// One state of a store, and sequences of inputs that a kernel reads: what the tests of both kernels share.
struct Recurrent {
  flatbuffers::FlatBufferBuilder builder;
  const fb::State *schema = nullptr;
  Owned<RecurrentStore> store;
  std::vector<int64_t> fed; // By sequence: positions that its slot holds.

  void create(fb::StateKind kind, DType dtype, std::vector<uint64_t> dims, uint64_t columns, uint64_t groups,
              size_t sequences, int64_t positions, int64_t checkpointEvery) {
    builder.Finish(fb::CreateStateDirect(builder, "state", kind, fb::StateScope::sequence, nullptr,
                                         fb::CreateRecurrentSpecDirect(builder, dtype, &dims, columns, groups)));
    schema = flatbuffers::GetRoot<fb::State>(builder.GetBufferPointer());
    RecurrentStoreOptions options;
    options.sequences = uint32_t(sequences);
    options.slots = options.sequences + 2;
    options.imports = 1;
    options.context = positions;
    options.batch = positions * int64_t(sequences);
    options.checkpointEvery = checkpointEvery;
    auto made = RecurrentStore::create({&schema, 1}, cpuTarget().recurrentLayout, options);
    if (!made)
      abort();
    store.reset(*made);
    fed.assign(sequences, 0);
  }

  void clear() {
    for (uint32_t s = 0; s < fed.size(); ++s)
      store->clear(s);
    std::fill(fed.begin(), fed.end(), 0);
  }

  /// The next `lengths` tokens of each sequence (0: it takes no part) as segments in the order of `order`.
  std::vector<BatchSegment> segments(const std::vector<int64_t> &lengths, const std::vector<uint32_t> &order) {
    std::vector<BatchSegment> list;
    int64_t row = 0;
    for (uint32_t s : order)
      if (lengths[s]) {
        list.push_back({s, int32_t(row), int32_t(lengths[s]), fed[s], fed[s] + lengths[s]});
        row += lengths[s];
      }
    return list;
  }

  /// Runs `call` over the segments; the sequences then hold their tokens.
  void step(Call &call, const std::vector<BatchSegment> &list, Isa isa, unsigned threads) {
    for (const BatchSegment &s : list)
      ASSERT_TRUE(bool(store->reserve(s.sequence, s.firstPosition, s.length)));
    for (uint32_t i = 0; i < list.size(); ++i)
      store->selectSegment(i, list[i].sequence, list[i].firstPosition, list[i].length);
    RecurrentStateView view = store->view(0);
    call.recurrent = &view;
    call.segments = list;
    call.run(isa, threads);
    for (const BatchSegment &s : list) {
      fed[s.sequence] = s.firstPosition + s.length;
      store->commit(s.sequence, fed[s.sequence]);
    }
  }

  void rollback(uint32_t sequence, int64_t position) {
    store->rollback(sequence, position);
    fed[sequence] = position;
  }

  /// What the sequence holds goes through its chunks into the last slot and back.
  void transfer(uint32_t sequence, Random &random) {
    struct Chunk {
      StateChunk chunk;
      std::vector<uint8_t> payload;
    };
    std::vector<Chunk> chunks;
    StateChunkSink sink{[](void *context, const StateChunk &chunk) -> Status {
                          static_cast<std::vector<Chunk> *>(context)->push_back(
                              {chunk, {chunk.payload.begin(), chunk.payload.end()}});
                          return {};
                        },
                        &chunks};
    std::vector<uint8_t> buffer(store->maxPayload());
    ASSERT_TRUE(bool(store->exportChunks(sequence, fed[sequence], buffer, sink)));
    std::shuffle(chunks.begin(), chunks.end(), random);
    store->clear(sequence);
    for (Chunk &c : chunks) {
      c.chunk.payload = c.payload;
      Status taken = store->importChunk(sequence, c.chunk);
      ASSERT_TRUE(bool(taken)) << taken.error().message();
    }
    Status whole = store->importComplete(sequence, fed[sequence]);
    ASSERT_TRUE(bool(whole)) << whole.error().message();
  }
};

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

namespace {

/// Inputs of sequences and the convolution over them.
struct Conv : Recurrent {
  int64_t channels, kernel;
  fb::Activation activation;
  std::vector<std::vector<float>> x;
  std::vector<float> weight, bias;

  Conv(Random &random, int64_t channels, int64_t kernel, bool withBias, fb::Activation activation,
       std::vector<int64_t> lengths, int64_t checkpointEvery = 0)
      : channels(channels), kernel(kernel), activation(activation) {
    create(fb::StateKind::conv, DType::f32, {uint64_t(channels), uint64_t(kernel - 1)}, uint64_t(channels), 0,
           lengths.size(), *std::max_element(lengths.begin(), lengths.end()), checkpointEvery);
    for (int64_t length : lengths)
      x.push_back(normals(random, size_t(length * channels)));
    weight = normals(random, size_t(channels * kernel));
    if (withBias)
      bias = normals(random, size_t(channels));
  }

  std::vector<float> run(const std::vector<BatchSegment> &list, Isa isa, unsigned threads, bool inPlace = false) {
    fb::Conv1dAttrs attrs(uint64_t(channels), uint32_t(kernel), activation, !bias.empty());
    std::vector<float> rows;
    for (const BatchSegment &s : list) {
      const float *begin = x[s.sequence].data() + s.firstPosition * channels;
      rows.insert(rows.end(), begin, begin + s.length * channels);
    }
    int64_t count = int64_t(rows.size()) / channels;
    Tensor xs = Tensor::matrix(rows, count, channels, 5, 3), weights = Tensor::matrix(weight, channels, kernel),
           biases = Tensor::vector(bias), out(DType::f32, {count, channels}, 2);
    Call call("conv1d_causal", attrs);
    call.inputs = {&xs, &weights};
    if (!bias.empty())
      call.inputs.push_back(&biases);
    call.outputs = {inPlace ? &xs : &out};
    step(call, list, isa, threads);
    return (inPlace ? xs : out).values();
  }

  double expected(size_t s, int64_t t, int64_t channel) const {
    double sum = bias.empty() ? 0 : double(bias[size_t(channel)]);
    for (int64_t j = 0; j < kernel; ++j)
      if (int64_t p = t - kernel + 1 + j; p >= 0)
        sum += double(weight[size_t(channel * kernel + j)]) * double(x[s][size_t(p * channels + channel)]);
    return activation == fb::Activation::silu ? sum / (1 + std::exp(-sum)) : sum;
  }
};

} // namespace

// Every form, against double; then splits, rollbacks, transfers and threads, in place too: the same bits.
TEST(Conv1d, MatchesDoubleHoweverItIsSplit) {
  Random random(6);
  for (auto [channels, kernel] :
       std::vector<std::pair<int64_t, int64_t>>{{300, 4}, {17, 4}, {5, 2}, {33, 3}, {16, 20}, {1, 64}})
    for (fb::Activation activation : {fb::Activation::none, fb::Activation::silu}) {
      const std::vector<int64_t> lengths = {90, 40};
      Conv conv(random, channels, kernel, activation == fb::Activation::silu, activation, lengths, 32);
      for (Isa isa : forms()) {
        conv.clear();
        std::vector<std::vector<float>> whole;
        for (uint32_t s = 0; s < 2; ++s) {
          std::vector<int64_t> only(2);
          only[s] = lengths[s];
          whole.push_back(conv.run(conv.segments(only, {0, 1}), isa, 2));
          for (int64_t t = 0; t < lengths[s]; ++t)
            for (int64_t i = 0; i < channels; ++i)
              ASSERT_NEAR(double(whole[s][size_t(t * channels + i)]), conv.expected(s, t, i), 3e-5)
                  << isaName(isa) << " channels " << channels << " kernel " << kernel << " token " << t;
        }
        conv.clear();
        for (int trial = 0; trial < 40; ++trial) {
          std::vector<int64_t> next(2);
          for (uint32_t s = 0; s < 2; ++s) {
            if (random() % 5 == 0)
              conv.rollback(s, conv.store->reachable(s, conv.fed[s], uniform(random, 0, conv.fed[s])));
            else if (random() % 5 == 0)
              conv.transfer(s, random);
            next[s] = std::min(lengths[s] - conv.fed[s], uniform(random, 0, random() % 2 ? 2 : 50));
          }
          std::vector<BatchSegment> list =
              conv.segments(next, trial % 2 ? std::vector<uint32_t>{0, 1} : std::vector<uint32_t>{1, 0});
          if (list.empty())
            continue;
          std::vector<float> got = conv.run(list, isa, unsigned(trial % 4 + 1), trial % 3 == 0), expected;
          for (const BatchSegment &part : list) {
            auto begin = whole[part.sequence].begin() + part.firstPosition * channels;
            expected.insert(expected.end(), begin, begin + part.length * channels);
          }
          ASSERT_TRUE(sameBits(got, expected)) << isaName(isa) << " kernel " << kernel << " trial " << trial;
        }
      }
    }
}

TEST(Conv1d, ChecksItsOperands) {
  Random random(7);
  Conv conv(random, 8, 4, false, fb::Activation::none, {4});
  RecurrentStateView view = conv.store->view(0);
  Tensor x(DType::f32, {4, 8}), weight(DType::f32, {8, 4}), bias(DType::f32, {8}), wrong(DType::f32, {4, 3});
  auto check = [&](const fb::Conv1dAttrs &attrs, std::vector<const Tensor *> inputs) {
    Call call("conv1d_causal", attrs);
    call.inputs = std::move(inputs);
    call.outputs = {&x};
    call.recurrent = &view;
    return call.check();
  };
  EXPECT_EQ(check({8, 4, fb::Activation::silu, false}, {&x, &weight}), "");
  EXPECT_EQ(check({8, 4, fb::Activation::silu, true}, {&x, &weight, &bias}), "");
  EXPECT_NE(check({8, 4, fb::Activation::silu, true}, {&x, &weight}), "");
  EXPECT_NE(check({8, 4, fb::Activation::silu, false}, {&wrong, &weight}), "");
  EXPECT_NE(check({8, 4, fb::Activation::silu, false}, {&x, &wrong}), "");
  EXPECT_NE(check({8, 4, fb::Activation(99), false}, {&x, &weight}), "");
  for (auto [channels, kernel] :
       std::vector<std::pair<uint64_t, uint32_t>>{{8, 3}, {8, 5}, {8, 1}, {8, 0}, {4, 8}, {0, 4}, {~uint64_t(0), 4}})
    EXPECT_NE(check({channels, kernel, fb::Activation::none, false}, {&x, &weight}), "") << channels << " " << kernel;
}

TEST(GatedRmsNorm, MatchesDouble) {
  Random random(8);
  for (auto [columns, group] :
       std::vector<std::pair<int64_t, int64_t>>{{3072, 3072}, {96, 32}, {21, 7}, {5, 5}, {34, 17}, {1, 1}})
    for (bool normFirst : {false, true})
      for (int aliased = 0; aliased < 3; ++aliased) {
        const int64_t rows = 5;
        std::vector<float> x = normals(random, size_t(rows * columns)), gate = normals(random, x.size()),
                           weight = normals(random, size_t(columns));
        fb::GatedRmsNormAttrs attrs(uint64_t(group), 1e-5f, fb::Activation::silu, normFirst);
        for (Isa isa : forms()) {
          Tensor xs = Tensor::matrix(x, rows, columns, 2, 1), gates = Tensor::matrix(gate, rows, columns, 3),
                 weights = Tensor::vector(weight), out(DType::f32, {rows, columns}, 1);
          Call call("gated_rms_norm", attrs);
          Tensor &target = aliased == 0 ? out : aliased == 1 ? xs : gates;
          call.inputs = {&xs, &gates, &weights};
          call.outputs = {&target};
          call.tokens = {true, true, false};
          call.run(isa, 2);
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t begin = 0; begin < columns; begin += group) {
              auto act = [&](int64_t i) {
                double g = double(gate[size_t(r * columns + i)]);
                return g / (1 + std::exp(-g));
              };
              double squares = 0;
              for (int64_t i = begin; i < begin + group; ++i)
                squares += std::pow(double(x[size_t(r * columns + i)]) * (normFirst ? 1 : act(i)), 2);
              double scale = 1 / std::sqrt(squares / double(group) + double(1e-5f));
              for (int64_t i = begin; i < begin + group; ++i)
                ASSERT_NEAR(double(target.view.row<float>(r)[i]),
                            double(x[size_t(r * columns + i)]) * act(i) * scale * double(weight[size_t(i)]), 2e-5)
                    << isaName(isa) << " columns " << columns << " group " << group;
            }
        }
      }
  fb::GatedRmsNormAttrs good(4, 0, fb::Activation::silu, false);
  Tensor x(DType::f32, {3, 8}), weight(DType::f32, {8}), wrong(DType::f32, {3, 7});
  auto check = [&](const fb::GatedRmsNormAttrs &attrs, const Tensor *gate, const Tensor *scale) {
    Call call("gated_rms_norm", attrs);
    call.inputs = {&x, gate, scale};
    call.outputs = {&x};
    call.tokens = {true, true, false};
    return call.check();
  };
  EXPECT_EQ(check(good, &x, &weight), "");
  EXPECT_NE(check(good, &wrong, &weight), "");
  EXPECT_NE(check(good, &x, &wrong), "");
  for (const fb::GatedRmsNormAttrs &bad : {fb::GatedRmsNormAttrs(3, 0, fb::Activation::silu, false),
                                           fb::GatedRmsNormAttrs(0, 0, fb::Activation::silu, false),
                                           fb::GatedRmsNormAttrs(4, -1, fb::Activation::silu, false),
                                           fb::GatedRmsNormAttrs(4, NAN, fb::Activation::silu, false),
                                           fb::GatedRmsNormAttrs(4, 0, fb::Activation(99), false)})
    EXPECT_NE(check(bad, &x, &weight), "");
}
