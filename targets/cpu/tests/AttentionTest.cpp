//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// attention and kv_append over paged states of every KV type, against a double softmax; batch invariance; page export.
//
#include "targets/cpu/KvPage.h"
#include "targets/cpu/tests/TestSupport.h"

#include <cmath>
#include <cstring>

using namespace mlc;
using namespace mlc::test;

namespace {

struct Shape {
  int64_t heads, kvHeads, dim;
  uint32_t window = 0;
  float softcap = 0;
  DType dtype = DType::f32;
  fb::Products products = fb::Products::f32;
};

/// What products over a state of the type may be.
std::vector<fb::Products> productsOf(DType dtype) {
  return {fb::Products::f32, dtype == DType::i8 ? fb::Products::i8 : fb::Products::bf16};
}

constexpr float kLog2e = 1.44269504f;

double toBf16(double value) { return double(bf16ToF32(f32ToBf16(float(value)))); }

/// Sequences of q, k, v rows; attention over them in any cut.
struct Model {
  Shape shape;
  std::vector<std::vector<float>> q, k, v; // Per sequence: [positions][heads * dim].
  KvState kv;

  Model(Random &random, Shape shape, std::vector<int64_t> lengths)
      : shape(shape), kv(fb::KvSpec(uint32_t(shape.kvHeads), uint32_t(shape.dim), shape.dtype, 0), lengths.size(),
                         *std::max_element(lengths.begin(), lengths.end()), uint32_t(random())) {
    for (int64_t length : lengths) {
      q.push_back(normals(random, size_t(length * shape.heads * shape.dim), 1.5f));
      k.push_back(normals(random, size_t(length * shape.kvHeads * shape.dim), 1.0f));
      v.push_back(normals(random, size_t(length * shape.kvHeads * shape.dim), 1.0f));
    }
  }

  Tensor rowsOf(const std::vector<std::vector<float>> &source, const std::vector<BatchSegment> &segments,
                int64_t columns) const {
    std::vector<float> rows;
    int64_t count = 0;
    for (const BatchSegment &s : segments) {
      const float *begin = source[s.sequence].data() + s.firstPosition * columns;
      rows.insert(rows.end(), begin, begin + s.length * columns);
      count += s.length;
    }
    return Tensor::matrix(rows, count, columns, 3);
  }

  void append(const std::vector<BatchSegment> &segments, unsigned threads = 1, Isa isa = machineIsa()) {
    fb::KvAppendAttrs attrs(uint32_t(shape.kvHeads), uint32_t(shape.dim));
    Tensor keys = rowsOf(k, segments, shape.kvHeads * shape.dim),
           values = rowsOf(v, segments, shape.kvHeads * shape.dim);
    Call call("kv_append", attrs);
    call.inputs = {&keys, &values};
    call.tokens = {true, true};
    call.kv = &kv;
    call.segments = segments;
    call.run(isa, threads);
  }

  std::vector<float> attend(const std::vector<BatchSegment> &segments, Isa isa, unsigned threads) {
    int64_t columns = shape.heads * shape.dim;
    fb::AttentionAttrs attrs(uint32_t(shape.heads), uint32_t(shape.kvHeads), uint32_t(shape.dim),
                             1.0f / std::sqrt(float(shape.dim)), shape.softcap, shape.window, shape.products);
    Tensor rows = rowsOf(q, segments, columns), out(DType::f32, {rows.view.dims[0], columns}, 1);
    Call call("attention", attrs);
    call.inputs = {&rows};
    call.outputs = {&out};
    call.kv = &kv;
    call.segments = segments;
    call.run(isa, threads);
    return out.values();
  }

  /// K or V of a position as the state holds it; int8 codes with their scale.
  std::pair<std::vector<float>, float> stored(size_t sequence, int64_t position, int64_t head, bool value) const {
    fb::KvSpec spec = kv.spec;
    std::vector<uint8_t> canonical(kvCanonicalBytes(spec, 1));
    unsigned p = unsigned(position % kPagePositions);
    cpuTarget().kvLayout.toCanonical(spec,
                                     kv.pool + kv.pages[sequence][size_t(position / kPagePositions)] * kv.pageBytes, p,
                                     p + 1, canonical.data());
    size_t size = dtypeSize(spec.dtype()), rowsBytes = size_t(shape.kvHeads * shape.dim) * size;
    size_t scales = spec.dtype() == DType::i8 ? size_t(shape.kvHeads) * 4 : 0;
    const uint8_t *base = canonical.data() + (value ? rowsBytes + scales : 0);
    float scale = 1;
    if (scales)
      memcpy(&scale, base + rowsBytes + size_t(head) * 4, 4);
    std::vector<float> out;
    for (int64_t i = 0; i < shape.dim; ++i) {
      const uint8_t *at = base + size_t(head * shape.dim + i) * size;
      uint16_t half;
      float x;
      memcpy(&half, at, size >= 2 ? 2 : 1);
      switch (spec.dtype()) {
      case DType::f32:
        memcpy(&x, at, 4);
        break;
      case DType::f16:
        x = f16ToF32(half);
        break;
      case DType::bf16:
        x = bf16ToF32(half);
        break;
      default:
        x = float(int8_t(*at));
      }
      out.push_back(x);
    }
    return {out, scale};
  }

  /// q's row as the products take it, with the factor of scores.
  std::pair<std::vector<double>, double> queryFactors(const float *query) const {
    float scale = 1.0f / std::sqrt(float(shape.dim)) * kLog2e;
    std::vector<double> out;
    if (shape.products != fb::Products::i8) {
      for (int64_t i = 0; i < shape.dim; ++i)
        out.push_back(shape.products == fb::Products::bf16 ? toBf16(query[i] * scale)
                                                           : double(query[i]) * double(scale));
      return {out, 1.0};
    }
    float most = 0;
    for (int64_t i = 0; i < shape.dim; ++i)
      most = std::max(most, std::abs(query[i]));
    for (int64_t i = 0; i < shape.dim; ++i)
      out.push_back(std::nearbyint(query[i] * (127.0f / most)));
    return {out, double(most / 127.0f * scale)};
  }

  /// The double reference of one query, which rounds what docs/kernels.md says.
  std::vector<double> reference(size_t sequence, int64_t position) const {
    bool rounds = shape.products != fb::Products::f32;
    auto factor = [&](double x) { return rounds ? toBf16(x) : x; };
    double cap = double(shape.softcap) * double(kLog2e);
    std::vector<double> out;
    int64_t group = shape.heads / shape.kvHeads;
    int64_t first = shape.window ? std::max<int64_t>(0, position - shape.window + 1) : 0;
    std::vector<std::pair<std::vector<float>, float>> keys, values; // Of the KV head of `h`.
    for (int64_t h = 0; h < shape.heads; ++h) {
      if (h % group == 0) {
        keys.clear(), values.clear();
        for (int64_t p = first; p <= position; ++p) {
          keys.push_back(stored(sequence, p, h / group, false));
          values.push_back(stored(sequence, p, h / group, true));
        }
      }
      const float *query = q[sequence].data() + (position * shape.heads + h) * shape.dim;
      auto [factors, queryScale] = queryFactors(query);
      std::vector<double> sum(size_t(shape.dim), 0.0), scores;
      double total = 0;
      for (int64_t p = first; p <= position; ++p) {
        const auto &[key, keyScale] = keys[size_t(p - first)];
        double score = 0;
        for (int64_t i = 0; i < shape.dim; ++i)
          score += factors[size_t(i)] * factor(double(key[size_t(i)]));
        score *= queryScale * double(keyScale);
        if (shape.softcap != 0)
          score = cap * std::tanh(score / cap);
        scores.push_back(score);
      }
      double top = std::ceil(*std::max_element(scores.begin(), scores.end()));
      for (int64_t p = first; p <= position; ++p) {
        const auto &[value, valueScale] = values[size_t(p - first)];
        double weight = std::exp2(scores[size_t(p - first)] - top);
        total += weight;
        for (int64_t i = 0; i < shape.dim; ++i)
          sum[size_t(i)] += factor(weight * double(valueScale)) * factor(double(value[size_t(i)]));
      }
      for (double x : sum)
        out.push_back(x / total);
    }
    return out;
  }
};

BatchSegment segment(uint32_t sequence, int64_t row, int64_t length, int64_t position) {
  return {sequence, int32_t(row), int32_t(length), position, position + length};
}

const Shape kShapes[] = {{4, 4, 20},
                         {4, 2, 64, 0, 0, DType::f16},
                         {6, 1, 12, 70},
                         {14, 2, 64, 0, 0, DType::bf16},
                         {3, 3, 7, 0, 5.0f},
                         {8, 2, 80, 33, 20.0f, DType::i8},
                         {2, 1, 96, 1, 0, DType::f16},
                         {5, 5, 16, 64, 0, DType::i8},
                         {60, 1, 8}};

} // namespace

// Every form, product type and KV type; dimensions, groups, positions and windows with every kind of remainder. Where
// probabilities are rounded, a score's last bit may round a probability the other way: that moves the result by less
// than 2^-8 of it, and seldom.
TEST(Attention, MatchesDouble) {
  Random random(3);
  std::vector<Shape> shapes(std::begin(kShapes), std::end(kShapes));
  for (DType dtype : {DType::f32, DType::f16, DType::bf16, DType::i8})
    for (int trial = 0; trial < trials(3); ++trial) {
      int64_t kvHeads = uniform(random, 1, 3);
      shapes.push_back({kvHeads * uniform(random, 1, 9), kvHeads, uniform(random, 1, trial ? 40 : 150),
                        trial == 1 ? uint32_t(uniform(random, 1, 130)) : 0, trial == 2 ? 20.0f : 0.0f, dtype});
    }
  for (size_t at = 0; at < shapes.size(); ++at)
    for (fb::Products products : productsOf(shapes[at].dtype)) {
      bool rounds = products != fb::Products::f32;
      if (kEmulated && rounds != (at % 2 == 1))
        continue;
      Shape shape = shapes[at];
      shape.products = products;
      Model model(random, shape, {150, 40});
      std::vector<BatchSegment> all = {segment(0, 0, 150, 0), segment(1, 150, 40, 0)};
      model.append(all, 2);
      std::vector<std::vector<double>> expected;
      const int64_t rows[] = {0, 1, 33, 63, 64, 65, 127, 128, 149, 150, 189};
      for (int64_t row : rows)
        expected.push_back(model.reference(row >= 150, row % 150));
      for (Isa isa : forms()) {
        std::vector<float> got = model.attend(all, isa, 1);
        int64_t columns = shape.heads * shape.dim;
        double errors = 0;
        for (size_t i = 0; i < std::size(rows); ++i)
          for (int64_t c = 0; c < columns; ++c) {
            double error = std::abs(double(got[size_t(rows[i] * columns + c)]) - expected[i][size_t(c)]);
            ASSERT_LE(error, rounds ? 1.5e-2 : 4e-6)
                << isaName(isa) << " products " << int(products) << " heads " << shape.heads << " dim " << shape.dim
                << " type " << int(shape.dtype) << " row " << rows[i] << " column " << c;
            errors += error;
          }
        EXPECT_LE(errors / double(std::size(rows) * size_t(columns)), 3e-5)
            << isaName(isa) << " products " << int(products);
      }
    }
}

// Prefill in one step, split at random places, token by token, in ragged mixes, on 1 to 4 threads: the same bits. The
// longest sequence crosses a chunk border, and single tokens at its end take the form split over chunks.
TEST(Attention, BatchInvariance) {
  Random random(5);
  for (const Shape &shape : {Shape{4, 2, 20, 0, 0, DType::f16}, Shape{7, 1, 16, 1100, 30.0f, DType::f32},
                             Shape{4, 4, 12, 90, 0, DType::i8}, Shape{14, 2, 20, 0, 0, DType::i8, fb::Products::i8},
                             Shape{7, 1, 17, 1100, 30.0f, DType::f16, fb::Products::bf16}}) {
    std::vector<int64_t> lengths = {kEmulated ? 1070 : 2100, 130};
    const int64_t first = kEmulated ? 1000 : 0; // What is computed of the longest sequence.
    Model model(random, shape, lengths);
    model.append({segment(0, 0, lengths[0], 0), segment(1, lengths[0], lengths[1], 0)});
    const std::vector<BatchSegment> all = {segment(0, 0, lengths[0] - first, first),
                                           segment(1, lengths[0] - first, lengths[1], 0)};
    int64_t columns = shape.heads * shape.dim;
    for (Isa isa : forms()) {
      std::vector<float> whole = model.attend(all, isa, 2);
      auto expectRows = [&](const std::vector<BatchSegment> &segments, unsigned threads) {
        std::vector<float> got = model.attend(segments, isa, threads), expected;
        for (const BatchSegment &s : segments) {
          auto begin = whole.begin() + ((s.sequence ? lengths[0] : 0) - first + s.firstPosition) * columns;
          expected.insert(expected.end(), begin, begin + s.length * columns);
        }
        ASSERT_TRUE(sameBits(got, expected))
            << isaName(isa) << " at " << segments[0].firstPosition << " threads " << threads;
      };
      for (int trial = 0; trial < trials(6); ++trial) {
        int64_t a = uniform(random, first, lengths[0] - 1), b = uniform(random, 0, lengths[1] - 1);
        int64_t la = uniform(random, 1, std::min<int64_t>(lengths[0] - a, 200)),
                lb = uniform(random, 1, lengths[1] - b);
        if (trial % 2)
          la = lb = 1;
        expectRows({segment(1, 0, lb, b), segment(0, lb, la, a)}, unsigned(trial % 4 + 1));
      }
      for (int64_t position : {int64_t(1023), int64_t(1024), lengths[0] - 53, lengths[0] - 1})
        expectRows({segment(0, 0, 1, position)}, unsigned(position % 3 + 2));
      expectRows({segment(0, 0, 5, lengths[0] - 5)}, 4);
    }
  }
}

// Every form gives the same bits, whatever the products, but for tiles: they add bf16 products in an order of their
// own.
TEST(Attention, FormsAgree) {
  Random random(27);
  for (DType dtype : {DType::f32, DType::f16, DType::bf16, DType::i8})
    for (fb::Products products : productsOf(dtype))
      for (float softcap : {0.0f, 20.0f}) {
        if (kEmulated && (products != fb::Products::f32) != (softcap != 0))
          continue;
        Model model(random, {6, 2, uniform(random, 1, 90), softcap != 0 ? 70u : 0u, softcap, dtype, products}, {150});
        const std::vector<BatchSegment> all = {segment(0, 0, 150, 0)};
        model.append(all);
        std::vector<float> first = model.attend(all, Isa::portable, 1);
        for (Isa isa : forms()) {
          std::vector<float> got = model.attend(all, isa, 1);
          if (products == fb::Products::f32 || !usesTiles(isa)) {
            EXPECT_TRUE(sameBits(got, first))
                << isaName(isa) << " products " << int(products) << " type " << int(dtype);
            continue;
          }
          for (size_t i = 0; i < got.size(); ++i)
            EXPECT_NEAR(got[i], first[i], 0x1p-8f * std::max(1.0f, std::fabs(first[i]))) << "type " << int(dtype);
        }
      }
}

// The largest sums of codes are exact in every form: equal keys have equal probabilities.
TEST(Attention, LargestCodes) {
  Random random(31);
  Model model(random, {1, 1, kEmulated ? 256 : 1024, 0, 0, DType::i8, fb::Products::i8}, {130});
  for (size_t i = 0; i < model.k[0].size(); ++i) {
    model.q[0][i] = 0.25f;
    model.k[0][i] = 1.0f;
    model.v[0][i] = int64_t(i) / model.shape.dim % 2 ? 1.0f : -1.0f;
  }
  const std::vector<BatchSegment> all = {segment(0, 0, 130, 0)};
  model.append(all);
  std::vector<float> first = model.attend(all, Isa::portable, 1);
  for (Isa isa : forms()) {
    std::vector<float> got = model.attend(all, isa, 1);
    for (int64_t row : {0, 1, 2, 127, 128, 129})
      EXPECT_NEAR(got[size_t(row * model.shape.dim)], row % 2 ? 0.0f : -1.0f / float(row + 1), 0x1p-8f / float(row + 1))
          << isaName(isa);
    if (!usesTiles(isa))
      EXPECT_TRUE(sameBits(got, first)) << isaName(isa);
  }
}

// A query that is not finite has a result that is not, and no other row does.
TEST(Attention, QueriesAreApart) {
  Random random(33);
  for (DType dtype : {DType::f32, DType::bf16, DType::i8})
    for (fb::Products products : productsOf(dtype))
      for (float poison : {NAN, INFINITY}) {
        Model model(random, {4, 2, 20, 0, 0, dtype, products}, {80});
        const std::vector<BatchSegment> all = {segment(0, 0, 80, 0)};
        model.append(all);
        std::vector<std::vector<float>> before;
        for (Isa isa : forms())
          before.push_back(model.attend(all, isa, 1));
        model.q[0][70 * 80 + 25] = poison; // Head 1.
        for (size_t i = 0; i < before.size(); ++i) {
          std::vector<float> after = model.attend(all, forms()[i], 1);
          for (int64_t c = 70 * 80 + 20; c < 70 * 80 + 40; ++c) {
            EXPECT_FALSE(std::isfinite(after[size_t(c)])) << isaName(forms()[i]) << " type " << int(dtype);
            after[size_t(c)] = before[i][size_t(c)];
          }
          EXPECT_TRUE(sameBits(after, before[i])) << isaName(forms()[i]) << " type " << int(dtype);
        }
      }
}

// What lies beyond a row's own positions, NaN and infinity included, never reaches it.
TEST(Attention, OtherPositionsDoNotMatter) {
  Random random(9);
  for (DType dtype : {DType::f32, DType::f16, DType::i8})
    for (fb::Products products : productsOf(dtype))
      for (uint32_t window : {0u, 10u})
        for (float poison : {NAN, INFINITY}) {
          Model model(random, {4, 2, 16, window, 0, dtype, products}, {100});
          const std::vector<BatchSegment> all = {segment(0, 0, 100, 0)};
          model.append(all);
          std::vector<std::vector<float>> before;
          for (Isa isa : forms())
            before.push_back(model.attend(all, isa, 1));
          for (int64_t c = 0; c < 32; ++c)
            model.v[0][size_t(70 * 32 + c)] = model.k[0][size_t(70 * 32 + c)] = poison;
          model.append(all);
          for (size_t i = 0; i < before.size(); ++i) {
            std::vector<float> &clean = before[i], after = model.attend(all, forms()[i], 1);
            EXPECT_FALSE(std::isfinite(after[70 * 64]));
            if (window) // Rows from 80 on do not see it any more.
              EXPECT_TRUE(sameBits({clean.begin() + 80 * 64, clean.end()}, {after.begin() + 80 * 64, after.end()}));
            clean.resize(70 * 64);
            after.resize(70 * 64);
            EXPECT_TRUE(sameBits(clean, after)) << isaName(forms()[i]) << " type " << int(dtype);
          }
        }
}

// Pages wholly before the window may be gone.
TEST(Attention, DroppedPages) {
  Random random(15);
  Model model(random, {4, 2, 16, 100}, {400});
  model.append({segment(0, 0, 400, 0)});
  std::vector<float> before = model.attend({segment(0, 0, 20, 380)}, machineIsa(), 2);
  for (size_t page = 0; page < 4; ++page)
    model.kv.pages[0][page] = KvStateView::kNoPage;
  EXPECT_TRUE(sameBits(model.attend({segment(0, 0, 20, 380)}, machineIsa(), 2), before));
}

// Every form stores the same bytes: those of the scalar roundings, NaN, infinities, subnormals and ties included.
TEST(KvPage, FormsStoreTheSameBytes) {
  Random random(33);
  const float special[] = {NAN,      -NAN,     INFINITY, -INFINITY, 0.0f,        -0.0f,       1e-8f,   -6e-8f, 3e-6f,
                           65519.0f, 65520.0f, 1e38f,    1e-40f,    1.00390625f, 1.01171875f, 2049.0f, 2051.0f};
  for (DType dtype : {DType::f32, DType::f16, DType::bf16, DType::i8})
    for (int64_t dim : {1, 15, 16, 37})
      for (bool withSpecial : {false, true}) {
        Model model(random, {2, 2, dim, 0, 0, dtype}, {70});
        if (withSpecial)
          for (auto *rows : {&model.k[0], &model.v[0]})
            for (float &x : *rows)
              if (random() % 3 == 0)
                x = special[random() % std::size(special)];
        std::vector<uint8_t> first;
        for (Isa isa : forms()) {
          std::fill(model.kv.storage.begin(), model.kv.storage.end(), uint8_t(0x55));
          model.append({segment(0, 0, 70, 0)}, 2, isa);
          if (first.empty())
            first = model.kv.storage;
          EXPECT_EQ(first, model.kv.storage) << isaName(isa) << " type " << int(dtype) << " dim " << dim;
        }
        for (int64_t p = 0; p < 70; ++p)
          for (int64_t i = 0; i < dim; ++i) {
            float x = model.k[0][size_t((p * 2 + 1) * dim + i)], got = model.stored(0, p, 1, false).first[size_t(i)];
            if (dtype == DType::i8)
              continue;
            float expected = dtype == DType::f32   ? x
                             : dtype == DType::f16 ? f16ToF32(f32ToF16(x))
                                                   : bf16ToF32(f32ToBf16(x));
            ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected)) << x;
          }
      }
}

TEST(KvPage, CanonicalFormRoundTrips) {
  Random random(21);
  for (DType dtype : {DType::f32, DType::f16, DType::bf16, DType::i8}) {
    Model model(random, {6, 3, 13, 0, 0, dtype}, {64});
    model.append({segment(0, 0, 64, 0)}, 2);
    const KvLayout &layout = cpuTarget().kvLayout;
    std::vector<uint8_t> whole(kvCanonicalBytes(model.kv.spec, 64)), page(model.kv.pageBytes, 0), again(whole.size());
    layout.toCanonical(model.kv.spec, model.kv.pool, 0, 64, whole.data());
    for (unsigned begin = 0; begin < 64; begin += 16) {
      std::vector<uint8_t> part(kvCanonicalBytes(model.kv.spec, 16));
      layout.toCanonical(model.kv.spec, model.kv.pool, begin, begin + 16, part.data());
      layout.fromCanonical(model.kv.spec, page.data(), begin, begin + 16, part.data());
    }
    layout.toCanonical(model.kv.spec, page.data(), 0, 64, again.data());
    EXPECT_EQ(whole, again);
    // [kv_head][position][head_dim]: head 1, position 5.
    auto [key, scale] = model.stored(0, 5, 1, false);
    if (dtype == DType::f32) {
      EXPECT_EQ(0, memcmp(key.data(), whole.data() + (64 + 5) * 13 * 4, 13 * 4));
      EXPECT_EQ(0, memcmp(key.data(), model.k[0].data() + (5 * 3 + 1) * 13, 13 * 4));
    }
    for (int i = 0; i < 13; ++i)
      EXPECT_NEAR(key[size_t(i)] * scale, model.k[0][size_t((5 * 3 + 1) * 13 + i)], dtype == DType::i8 ? 0.02 : 0.02);
  }
}
