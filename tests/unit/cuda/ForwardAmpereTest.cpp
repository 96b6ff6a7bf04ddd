//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The sm_80 attention kernel's text, run on the host, against f64.
//
#include "targets/cuda/attention/ForwardAmpere.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using namespace mlc::cuda;

namespace {

struct Case {
  const char *name;
  std::vector<int> rows, columns; // of each sequence
  int headsQ, headsKv;
  int left = -1, right = -1;
  float softcap = 0;
  int pageSize = 0;
  bool ragged = false;
};
const Case kCases[] = {
    {"plain", {70}, {150}, 2, 1},
    {"causal", {150}, {200}, 1, 1, -1, 0},
    {"rows that see nothing", {150}, {60}, 1, 1, -1, 0},
    {"window", {140}, {330}, 1, 1, 40, 20},
    {"softcap", {40}, {100}, 1, 1, -1, 0, 3.f},
    {"lengths", {40, 40}, {0, 130}, 2, 1},
    {"pages of 16", {33, 33}, {150, 37}, 1, 1, -1, 0, 0, 16},
    {"pages of 48", {33, 33}, {200, 37}, 1, 1, -1, 0, 0, 48},
    {"ragged", {5, 0, 140}, {100, 20, 130}, 2, 1, -1, 0, 0, 0, true},
};

/// Values in 16 bits at an aligned address, NaN at first.
template <class T> struct Values {
  explicit Values(size_t count) : own(count + 8, 0x7fff), at(own.data()) {
    while (uintptr_t(at) % 16)
      ++at;
  }
  double operator[](size_t i) const { return widen<T>(at[i]); }
  std::vector<uint16_t> own;
  uint16_t *at;
};

/// Inputs of one case. K and V hold NaN wherever no sequence has a token.
template <class T, int kHeadDim> struct Problem {
  explicit Problem(const Case &c)
      : c(c), maxRows(*std::max_element(c.rows.begin(), c.rows.end())),
        maxColumns(*std::max_element(c.columns.begin(), c.columns.end())), q(tokensQ() * c.headsQ * kHeadDim),
        k(tokensKv() * c.headsKv * kHeadDim), v(tokensKv() * c.headsKv * kHeadDim),
        out(tokensQ() * c.headsQ * kHeadDim), lse(tokensQ() * c.headsQ, NAN) {
    for (size_t i = 0; i < c.rows.size(); ++i) {
      cuQ.push_back(cuQ.back() + c.rows[i]);
      cuKv.push_back(cuKv.back() + c.columns[i]);
    }
    for (int i = 0; i < pagesEach() * int(c.rows.size()); ++i)
      table.push_back(i);
    std::mt19937 random(7);
    std::shuffle(table.begin(), table.end(), random);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < tokensQ() * c.headsQ * kHeadDim; ++i)
      q.at[i] = narrow<T>(normal(random));
    for (size_t b = 0; b < c.rows.size(); ++b)
      for (int j = 0; j < c.columns[b]; ++j)
        for (size_t e = 0; e < size_t(c.headsKv) * kHeadDim; ++e) {
          k.at[tokenKv(b, j) * c.headsKv * kHeadDim + e] = narrow<T>(normal(random));
          v.at[tokenKv(b, j) * c.headsKv * kHeadDim + e] = narrow<T>(normal(random));
        }
  }

  int pagesEach() const { return c.pageSize ? ceilDiv(maxColumns, c.pageSize) : 0; }
  size_t tokensQ() const {
    size_t sum = 0;
    for (int rows : c.rows)
      sum += c.ragged ? rows : maxRows;
    return sum;
  }
  size_t tokensKv() const {
    size_t sum = 0;
    for (int columns : c.columns)
      sum += c.pageSize ? pagesEach() * c.pageSize : c.ragged ? columns : maxColumns;
    return sum;
  }
  int rowsOf(size_t b) const { return c.ragged ? c.rows[b] : maxRows; }
  size_t tokenQ(size_t b, int i) const { return c.ragged ? cuQ[b] + i : b * maxRows + i; }
  size_t tokenKv(size_t b, int j) const {
    if (c.pageSize)
      return size_t(table[b * pagesEach() + j / c.pageSize]) * c.pageSize + j % c.pageSize;
    return c.ragged ? cuKv[b] + j : b * maxColumns + j;
  }
  double scale() const { return 1 / std::sqrt(double(kHeadDim)); }

  template <class S> void run(bool backwards) {
    constexpr double log2e = 1.4426950408889634;
    ForwardParameters p{};
    const int64_t tokenQ = c.headsQ * kHeadDim, tokenKv = c.headsKv * kHeadDim;
    const int64_t batchKv = (c.pageSize ? c.pageSize : maxColumns) * tokenKv;
    p.qTensor = {q.at, maxRows * tokenQ, tokenQ, kHeadDim};
    p.kTensor = {k.at, batchKv, tokenKv, kHeadDim};
    p.vTensor = {v.at, batchKv, tokenKv, kHeadDim};
    p.out = out.at;
    p.outBatch = maxRows * tokenQ;
    p.outToken = tokenQ;
    p.outHead = kHeadDim;
    p.lse = lse.data();
    p.lseHead = c.ragged ? tokensQ() : maxRows;
    p.lseBatch = p.lseHead * c.headsQ;
    p.cuQ = c.ragged ? cuQ.data() : nullptr;
    p.cuKv = c.ragged ? cuKv.data() : nullptr;
    p.lengths = c.ragged ? nullptr : c.columns.data();
    p.pages = c.pageSize ? table.data() : nullptr;
    p.pagesPerSequence = pagesEach();
    p.pageSize = c.pageSize;
    p.pageCount = table.size();
    p.seqQ = maxRows;
    p.seqKv = maxColumns;
    p.headsQ = c.headsQ;
    p.group = c.headsQ / c.headsKv;
    p.windowLeft = c.left;
    p.windowRight = c.right;
    p.softcap = c.softcap;
    p.scaleLog2 = float((c.softcap > 0 ? 1 : scale()) * log2e);
    p.capScaleLog2 = c.softcap > 0 ? float(2 * log2e * scale() / c.softcap) : 0;
    p.order = {ceilDiv(maxRows, S::kRows), int(c.rows.size()) * c.headsQ, c.headsQ};
    EXPECT_TRUE(emulator::launch(p.order.tiles(), S::kThreads, S::kSharedBytes, backwards,
                                 [&] { attentionForwardAmpere<T, S>(p); }));
  }

  void expectRow(size_t b, int head, int i) const {
    const int rows = rowsOf(b), columns = c.columns[b];
    const size_t rowQ = (tokenQ(b, i) * c.headsQ + head) * kHeadDim;
    auto rowKv = [&](int j) { return (tokenKv(b, j) * c.headsKv + head / (c.headsQ / c.headsKv)) * kHeadDim; };
    std::vector<double> scores(columns, -INFINITY), want(kHeadDim);
    double most = -INFINITY, sum = 0;
    for (int j = 0; j < columns; ++j) {
      const int diagonal = i + columns - rows;
      if ((c.left >= 0 && j < diagonal - c.left) || (c.right >= 0 && j > diagonal + c.right))
        continue;
      double score = 0;
      for (int e = 0; e < kHeadDim; ++e)
        score += q[rowQ + e] * k[rowKv(j) + e];
      score *= scale();
      scores[j] = c.softcap > 0 ? c.softcap * std::tanh(score / c.softcap) : score;
      most = std::max(most, scores[j]);
    }
    for (int j = 0; j < columns; ++j) {
      if (scores[j] == -INFINITY)
        continue;
      const double weight = std::exp(scores[j] - most);
      sum += weight;
      for (int e = 0; e < kHeadDim; ++e)
        want[e] += weight * v[rowKv(j) + e];
    }
    double error = 0, norm = 0;
    for (int e = 0; e < kHeadDim; ++e) {
      const double value = sum > 0 ? want[e] / sum : 0;
      error += (out[rowQ + e] - value) * (out[rowQ + e] - value);
      norm += value * value;
    }
    SCOPED_TRACE(testing::Message() << c.name << ": sequence " << b << " head " << head << " row " << i);
    // Weights and results are rounded once each.
    EXPECT_LE(std::sqrt(error), (std::is_same_v<T, __half> ? 1e-3 : 8e-3) * std::sqrt(norm));
    const float got = lse[c.ragged ? head * tokensQ() + tokenQ(b, i) : (b * c.headsQ + head) * maxRows + i];
    if (sum > 0)
      EXPECT_NEAR(got, most + std::log(sum), 1e-5 * (1 + std::abs(most)));
    else
      EXPECT_EQ(got, -INFINITY);
  }

  const Case &c;
  int maxRows, maxColumns;
  std::vector<int> cuQ{0}, cuKv{0}, table;
  Values<T> q, k, v, out;
  std::vector<float> lse;
};

template <class Type, class Shape> struct Form {
  using T = Type;
  using S = Shape;
};
template <class F> class ForwardAmpereTest : public testing::Test {};
using Forms = testing::Types<Form<__half, AmpereForm<64, false>>, Form<__nv_bfloat16, AmpereForm<80, false>>,
                             Form<__nv_bfloat16, AmpereForm<96, false>>, Form<__nv_bfloat16, AmpereForm<128, false>>,
                             Form<__nv_bfloat16, AmpereForm<128, true>>, Form<__nv_bfloat16, AmpereForm<256, false>>,
                             Form<__nv_bfloat16, AmpereForm<256, true>>>;
TYPED_TEST_SUITE(ForwardAmpereTest, Forms);

TYPED_TEST(ForwardAmpereTest, AgreesWithF64) {
  using S = typename TypeParam::S;
  bool backwards = false;
  for (const Case &c : kCases) {
    Problem<typename TypeParam::T, S::kHeadDim> problem(c);
    problem.template run<S>(backwards = !backwards);
    for (size_t b = 0; b < c.rows.size(); ++b)
      for (int head = 0; head < c.headsQ; ++head)
        for (int i = 0; i < problem.rowsOf(b); ++i)
          problem.expectRow(b, head, i);
    if (this->HasFailure())
      return;
  }
}

// A row's bits do not depend on the rows beside it: not on their number, nor on how large their scores are.
TYPED_TEST(ForwardAmpereTest, RowsAreIndependent) {
  using S = typename TypeParam::S;
  using T = typename TypeParam::T;
  constexpr int kHeadDim = S::kHeadDim, rows = 50, last = 7;
  const Case all{"", {rows}, {170}, 1, 1, 120, 0}, few{"", {last}, {170}, 1, 1, 120, 0};
  Problem<T, kHeadDim> whole(all), part(few);
  for (int e = 0; e < 170 * kHeadDim; ++e) {
    part.k.at[e] = whole.k.at[e];
    part.v.at[e] = whole.v.at[e];
  }
  for (int e = 0; e < rows * kHeadDim; ++e)
    if (e < (rows - last) * kHeadDim)
      whole.q.at[e] = narrow<T>(8 * widen<T>(whole.q.at[e]));
    else
      part.q.at[e - (rows - last) * kHeadDim] = whole.q.at[e];
  whole.template run<S>(false);
  part.template run<S>(true);
  for (int e = 0; e < last * kHeadDim; ++e)
    ASSERT_EQ(part.out.at[e], whole.out.at[(rows - last) * kHeadDim + e]) << e;
}

} // namespace
