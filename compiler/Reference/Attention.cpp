//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// attention over a kv state.
//
#include "compiler/Reference/Frame.h"
#include "compiler/Reference/Rounding.h"

#include <cmath>

using namespace mlir;

namespace mlc::reference {

/// Rows of new keys or values as the state's dtype keeps them; int8: one scale for each head and token.
template <typename T> static void appendRounded(graph::StateOp state, const T *row, StoredRows<T> &rows) {
  int64_t heads = state.getKvHeads(), dim = state.getHeadDim();
  Type type = state.getDtype().value_or(Type());
  if (type && type.isInteger(8)) {
    std::vector<int8_t> codes(dim);
    for (int64_t head = 0; head < heads; ++head) {
      std::vector<float> values(row + head * dim, row + (head + 1) * dim);
      rows.scales.push_back(T(quantizeGroup(values, codes.data())));
      rows.elements.insert(rows.elements.end(), codes.begin(), codes.end());
    }
    return;
  }
  rows.scales.insert(rows.scales.end(), heads, T(1));
  for (int64_t i = 0; i < heads * dim; ++i)
    rows.elements.push_back(type ? roundTo(type, row[i]) : row[i]);
}

/// What the state holds of one KV head.
template <typename T> struct HeadView {
  const KvRows<T> &rows;
  int64_t width, heads, head, dim;
  T key(int64_t p, int64_t i) const { return rows.keys.elements[p * width + head * dim + i]; }
  T value(int64_t p, int64_t i) const { return rows.values.elements[p * width + head * dim + i]; }
  T keyScale(int64_t p) const { return rows.keys.scales[p * heads + head]; }
  T valueScale(int64_t p) const { return rows.values.scales[p * heads + head]; }
};

/// softmax(scale q k^T) v of one query of a head over positions [first, end), with f32 products.
template <typename T>
static void attendExact(graph::AttentionOp op, const T *q, const HeadView<T> &kv, int64_t first, int64_t end, T *out) {
  T scale = T(op.getScale().convertToFloat()), cap = T(op.getSoftcap().convertToFloat());
  std::vector<T> weights(end - first);
  T largest = -std::numeric_limits<T>::infinity();
  for (int64_t p = first; p < end; ++p) {
    T score = 0;
    for (int64_t i = 0; i < kv.dim; ++i)
      score += q[i] * (kv.keyScale(p) * kv.key(p, i));
    score *= scale;
    if (cap != 0)
      score = cap * std::tanh(score / cap);
    weights[p - first] = score;
    largest = std::max(largest, score);
  }
  T total = 0;
  for (T &weight : weights)
    total += weight = std::exp(weight - largest);
  for (int64_t p = first; p < end; ++p)
    for (int64_t i = 0; i < kv.dim; ++i)
      out[i] += weights[p - first] / total * (kv.valueScale(p) * kv.value(p, i));
}

/// The same with the factors of both products rounded to bf16, or with scores from codes; the softmax is in powers of
/// two, so that the maximum, rounded up to an integer, does not change what a probability rounds to.
template <typename T>
static void attendRounded(graph::AttentionOp op, const T *q, const HeadView<T> &kv, int64_t first, int64_t end,
                          T *out) {
  constexpr float kLog2e = 1.44269504f;
  float scale = op.getScale().convertToFloat() * kLog2e;
  T cap = T(op.getSoftcap().convertToFloat() * kLog2e);
  Type bf16 = BFloat16Type::get(op.getContext());
  std::vector<T> rounded(kv.dim), weights(end - first);
  T queryScale = 1;
  if (op.getProducts() == graph::Products::i8) {
    std::vector<int8_t> codes(kv.dim);
    std::vector<float> values(q, q + kv.dim);
    queryScale = T(quantizeGroup(values, codes.data()) * scale);
    rounded.assign(codes.begin(), codes.end());
  } else {
    for (int64_t i = 0; i < kv.dim; ++i)
      rounded[i] = roundTo(bf16, q[i] * T(scale));
  }
  T largest = -std::numeric_limits<T>::infinity();
  for (int64_t p = first; p < end; ++p) {
    T score = 0;
    for (int64_t i = 0; i < kv.dim; ++i)
      score += rounded[i] * roundTo(bf16, kv.key(p, i));
    score *= queryScale * kv.keyScale(p);
    if (cap != 0)
      score = cap * std::tanh(score / cap);
    weights[p - first] = score;
    largest = std::max(largest, score);
  }
  T total = 0;
  for (int64_t p = first; p < end; ++p) {
    T weight = std::exp2(weights[p - first] - std::ceil(largest));
    total += weight;
    weight = roundTo(bf16, weight * kv.valueScale(p));
    for (int64_t i = 0; i < kv.dim; ++i)
      out[i] += weight * roundTo(bf16, kv.value(p, i));
  }
  for (int64_t i = 0; i < kv.dim; ++i)
    out[i] /= total;
}

template <typename T> static llvm::Error evaluateAttention(graph::AttentionOp op, Frame<T> &frame) {
  const Floats<T> &query = frame.floats(op.getQuery()), &key = frame.floats(op.getKey());
  const Floats<T> &value = frame.floats(op.getValue());
  const Batch &batch = frame.batch(op.getBatch());
  auto state = SymbolTable::lookupNearestSymbolFrom<graph::StateOp>(op, op.getStateAttr());
  int64_t heads = op.getHeads(), kvHeads = state.getKvHeads(), dim = state.getHeadDim(), window = state.getWindow();
  int64_t width = kvHeads * dim;
  if (query.rows() != batch.tokens() || key.rows() != batch.tokens() || value.rows() != batch.tokens())
    return failAt(op, "query, key and value must have one row for each of the batch's " + Twine(batch.tokens()) +
                          " tokens");
  if (query.columns() != heads * dim || key.columns() != width || value.columns() != width)
    return failAt(op, "query, key and value must have heads * head_dim columns");
  if (llvm::Error error = frame.admit(op, query.shape))
    return error;
  bool exact = op.getProducts() == graph::Products::f32;

  auto result = Floats<T>::filled(query.shape);
  int64_t row = 0;
  for (const Segment &segment : batch.segments) {
    KvRows<T> &rows = frame.states().kv(state, segment.sequence);
    // What lies at and after the first position was rolled back.
    if (int64_t(rows.keys.elements.size()) < segment.firstPosition * width)
      return failAt(op, "sequence " + Twine(segment.sequence) + " holds no position before " +
                            Twine(segment.firstPosition));
    for (StoredRows<T> *stored : {&rows.keys, &rows.values}) {
      stored->elements.resize(segment.firstPosition * width);
      stored->scales.resize(segment.firstPosition * kvHeads);
    }
    for (int64_t t = 0; t < segment.length; ++t, ++row) {
      int64_t position = segment.firstPosition + t;
      appendRounded(state, key.row(row), rows.keys);
      appendRounded(state, value.row(row), rows.values);
      int64_t first = window ? std::max<int64_t>(0, position - window + 1) : 0;
      for (int64_t h = 0; h < heads; ++h)
        (exact ? attendExact<T> : attendRounded<T>)(op, query.row(row) + h * dim,
                                                    HeadView<T>{rows, width, kvHeads, h / (heads / kvHeads), dim},
                                                    first, position + 1, result.row(row) + h * dim);
    }
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> void registerAttention(Evaluators<T> evaluators) {
  evaluators.template add<graph::AttentionOp, evaluateAttention<T>>();
}
MLC_REFERENCE_FAMILY(registerAttention)

} // namespace mlc::reference
