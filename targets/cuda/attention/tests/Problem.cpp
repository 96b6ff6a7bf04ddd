//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
#include "targets/cuda/attention/tests/Problem.h"

#include "targets/cuda/attention/simt/Emulator.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace mlc::attention::test {

namespace {

std::vector<int32_t> cumulative(const std::vector<int> &lengths) {
  std::vector<int32_t> sums = {0};
  for (int length : lengths)
    sums.push_back(sums.back() + length);
  return sums;
}

} // namespace

mlc_attention_tensor Problem::makeTensor(int heads, int batch, int tokens, bool inside) {
  const size_t size = dtype == MLC_ATTENTION_F32 ? 4 : 2, count = size_t(heads) * batch * tokens * options.headDim;
  memory.push_back(std::make_unique<unsigned char[]>(count * size + 16));
  unsigned char *data = memory.back().get();
  data += -reinterpret_cast<uintptr_t>(data) & 15;
  std::memset(data, 0xff, count * size);
  const int64_t dim = options.headDim;
  if (inside)
    return {data, heads * tokens * dim, dim, tokens * dim};
  return {data, tokens * heads * dim, heads * dim, dim};
}

Problem::Problem(const Options &options, mlc_attention_dtype dtype, unsigned seed) : options(options), dtype(dtype) {
  cuQ = cumulative(options.lengthsQ);
  cuKv = cumulative(options.lengthsKv);
  const bool raggedQ = !options.lengthsQ.empty(), raggedKv = !options.lengthsKv.empty();
  problem.dtype = problem.kv_dtype = dtype;
  problem.head_dim = options.headDim;
  problem.batch = options.batch;
  problem.heads_q = options.headsQ;
  problem.heads_kv = options.headsKv;
  problem.seq_q = raggedQ ? *std::ranges::max_element(options.lengthsQ) : options.rows;
  problem.seq_kv = raggedKv ? *std::ranges::max_element(options.lengthsKv) : options.columns;
  problem.total_q = raggedQ ? cuQ.back() : 0;
  problem.total_kv = raggedKv ? cuKv.back() : 0;
  problem.cu_seqlens_q = raggedQ ? cuQ.data() : nullptr;
  problem.cu_seqlens_kv = raggedKv ? cuKv.data() : nullptr;
  problem.window_left = options.left;
  problem.window_right = options.right;
  problem.softcap = options.softcap;
  problem.scale = 1 / std::sqrt(float(options.headDim));
  lengths.assign(options.used.begin(), options.used.end());
  problem.lengths_kv = lengths.empty() ? nullptr : lengths.data();

  std::mt19937 random(seed);
  int batchKv = raggedKv ? 1 : options.batch, tokensKv = raggedKv ? cuKv.back() : options.columns;
  if (options.pageSize) {
    problem.page_size = options.pageSize;
    problem.pages_per_sequence = (options.columns + options.pageSize - 1) / options.pageSize;
    problem.pages = problem.pages_per_sequence * options.batch + 3;
    pages.resize(problem.pages);
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), random);
    problem.page_table = pages.data();
    batchKv = problem.pages;
    tokensKv = options.pageSize;
  }
  const int batchQ = raggedQ ? 1 : options.batch, tokensQ = raggedQ ? cuQ.back() : options.rows;
  const bool inside = options.tokensInside;
  problem.q = makeTensor(options.headsQ, batchQ, tokensQ, inside);
  problem.out = makeTensor(options.headsQ, batchQ, tokensQ, !inside);
  problem.k = makeTensor(options.headsKv, batchKv, tokensKv, inside);
  problem.v = makeTensor(options.headsKv, batchKv, tokensKv, inside);
  gradients.dout = makeTensor(options.headsQ, batchQ, tokensQ, !inside);
  gradients.dq = makeTensor(options.headsQ, batchQ, tokensQ, inside);
  gradients.dk = makeTensor(options.headsKv, batchKv, tokensKv, inside);
  gradients.dv = makeTensor(options.headsKv, batchKv, tokensKv, inside);
  lse.assign(size_t(options.headsQ) * batchQ * tokensQ, NAN);
  problem.lse = lse.data();

  std::normal_distribution<float> normal;
  auto fill = [&](const mlc_attention_tensor &tensor, float spread) {
    return [&, spread](int, int, Place place, int head) {
      for (int d = 0; d < options.headDim; ++d)
        store(tensor, offset(tensor, place, head) + d, spread * normal(random));
    };
  };
  forEachQuery(fill(problem.q, options.spread));
  forEachQuery(fill(gradients.dout, 1));
  forEachKey(fill(problem.k, options.spread));
  forEachKey(fill(problem.v, 1));
}

int64_t Problem::offset(const mlc_attention_tensor &tensor, Place place, int head) const {
  return place.batch * tensor.batch + place.token * tensor.token + head * tensor.head;
}
double Problem::load(const mlc_attention_tensor &tensor, int64_t index) const {
  if (dtype == MLC_ATTENTION_F32)
    return static_cast<const float *>(tensor.data)[index];
  const uint16_t bits = static_cast<const uint16_t *>(tensor.data)[index];
  return dtype == MLC_ATTENTION_BF16 ? emulator::valueOfBf16(bits) : emulator::valueOfF16(bits);
}
void Problem::store(const mlc_attention_tensor &tensor, int64_t index, double value) {
  if (dtype == MLC_ATTENTION_F32)
    static_cast<float *>(tensor.data)[index] = float(value);
  else
    static_cast<uint16_t *>(tensor.data)[index] =
        dtype == MLC_ATTENTION_BF16 ? emulator::bf16Of(float(value)) : emulator::f16Of(float(value));
}
int Problem::rowsOf(int batch) const { return options.lengthsQ.empty() ? options.rows : options.lengthsQ[batch]; }
int Problem::columnsOf(int batch) const {
  if (!options.used.empty())
    return options.used[batch];
  return options.lengthsKv.empty() ? options.columns : options.lengthsKv[batch];
}
Problem::Place Problem::queryAt(int batch, int row) const {
  return options.lengthsQ.empty() ? Place{batch, row} : Place{0, cuQ[batch] + row};
}
Problem::Place Problem::keyAt(int batch, int column) const {
  if (options.pageSize)
    return {pages[batch * problem.pages_per_sequence + column / options.pageSize], column % options.pageSize};
  return options.lengthsKv.empty() ? Place{batch, column} : Place{0, cuKv[batch] + column};
}
template <typename Call> void Problem::forEachQuery(Call &&call) const {
  for (int batch = 0; batch < options.batch; ++batch)
    for (int row = 0; row < rowsOf(batch); ++row)
      for (int head = 0; head < options.headsQ; ++head)
        call(batch, row, queryAt(batch, row), head);
}
template <typename Call> void Problem::forEachKey(Call &&call) const {
  for (int batch = 0; batch < options.batch; ++batch)
    for (int column = 0; column < columnsOf(batch); ++column)
      for (int head = 0; head < options.headsKv; ++head)
        call(batch, column, keyAt(batch, column), head);
}

std::vector<double> Problem::readQueries(const mlc_attention_tensor &tensor) const {
  std::vector<double> values;
  forEachQuery([&](int, int, Place place, int head) {
    for (int d = 0; d < options.headDim; ++d)
      values.push_back(load(tensor, offset(tensor, place, head) + d));
  });
  return values;
}
std::vector<double> Problem::readKeys(const mlc_attention_tensor &tensor) const {
  std::vector<double> values;
  forEachKey([&](int, int, Place place, int head) {
    for (int d = 0; d < options.headDim; ++d)
      values.push_back(load(tensor, offset(tensor, place, head) + d));
  });
  return values;
}
std::vector<double> Problem::readLse() const {
  std::vector<double> values;
  forEachQuery([&](int batch, int row, Place place, int head) {
    values.push_back(options.lengthsQ.empty() ? lse[(size_t(batch) * options.headsQ + head) * options.rows + row]
                                              : lse[size_t(head) * cuQ.back() + place.token]);
  });
  return values;
}

void Problem::setForward(const Answer &answer) {
  size_t next = 0;
  forEachQuery([&](int batch, int row, Place place, int head) {
    for (int d = 0; d < options.headDim; ++d)
      store(problem.out, offset(problem.out, place, head) + d, answer.out[next * options.headDim + d]);
    float &to = options.lengthsQ.empty() ? lse[(size_t(batch) * options.headsQ + head) * options.rows + row]
                                         : lse[size_t(head) * cuQ.back() + place.token];
    to = float(answer.lse[next++]);
  });
}

Problem::Answer Problem::answer(bool withGradients) const {
  const int dim = options.headDim, group = options.headsQ / options.headsKv;
  Answer answer;
  const std::vector<double> q = readQueries(problem.q), k = readKeys(problem.k), v = readKeys(problem.v),
                            dout = readQueries(gradients.dout);
  answer.out.assign(q.size(), 0);
  answer.dq.assign(q.size(), 0);
  answer.dk.assign(k.size(), 0);
  answer.dv.assign(k.size(), 0);
  std::vector<size_t> firstKey = {0};
  for (int batch = 0; batch < options.batch; ++batch)
    firstKey.push_back(firstKey.back() + size_t(columnsOf(batch)));
  size_t next = 0;
  forEachQuery([&](int batch, int row, Place, int head) {
    const int columns = columnsOf(batch), shift = columns - rowsOf(batch);
    const int first = options.left < 0 ? 0 : std::max(0, row + shift - options.left);
    const int end = options.right < 0 ? columns : std::min(columns, row + shift + options.right + 1);
    const double *query = &q[next * dim];
    auto keyOf = [&](int column) {
      return ((firstKey[batch] + size_t(column)) * options.headsKv + size_t(head / group)) * dim;
    };
    std::vector<double> scores, slopes;
    double most = -INFINITY, sum = 0;
    for (int column = first; column < end; ++column) {
      double score = std::inner_product(query, query + dim, &k[keyOf(column)], 0.0) * double(problem.scale), slope = 1;
      if (options.softcap > 0) {
        const double tangent = std::tanh(score / options.softcap);
        score = options.softcap * tangent;
        slope = 1 - tangent * tangent;
      }
      scores.push_back(score);
      slopes.push_back(slope);
      most = std::max(most, score);
    }
    for (double &score : scores)
      sum += score = std::exp(score - most);
    answer.lse.push_back(scores.empty() ? -INFINITY : most + std::log(sum));
    double delta = 0;
    for (int d = 0; d < dim; ++d) {
      double &out = answer.out[next * dim + d];
      for (int column = first; column < end; ++column)
        out += scores[size_t(column - first)] / sum * v[keyOf(column) + d];
      delta += out * dout[next * dim + d];
    }
    for (int column = first; withGradients && column < end; ++column) {
      const double p = scores[size_t(column - first)] / sum;
      const double *gradient = &dout[next * dim];
      const double dp = std::inner_product(gradient, gradient + dim, &v[keyOf(column)], 0.0);
      const double ds = p * (dp - delta) * slopes[size_t(column - first)] * double(problem.scale);
      for (int d = 0; d < dim; ++d) {
        answer.dv[keyOf(column) + d] += p * gradient[d];
        answer.dk[keyOf(column) + d] += ds * query[d];
        answer.dq[next * dim + d] += ds * k[keyOf(column) + d];
      }
    }
    ++next;
  });
  return answer;
}

} // namespace mlc::attention::test
