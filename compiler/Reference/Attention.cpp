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
template <typename T> static void appendRounded(graph::StateOp state, const T *row, std::vector<T> &rows) {
  int64_t heads = state.getKvHeads(), dim = state.getHeadDim();
  Type type = state.getDtype().value_or(Type());
  if (type && type.isInteger(8)) {
    std::vector<int8_t> codes(dim);
    for (int64_t head = 0; head < heads; ++head) {
      std::vector<float> values(row + head * dim, row + (head + 1) * dim);
      T scale = T(quantizeGroup(values, codes.data()));
      for (int8_t code : codes)
        rows.push_back(scale * T(code));
    }
    return;
  }
  for (int64_t i = 0; i < heads * dim; ++i)
    rows.push_back(type ? roundTo(type, row[i]) : row[i]);
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
  T scale = T(op.getScale().convertToFloat()), cap = T(op.getSoftcap().convertToFloat());

  auto result = Floats<T>::filled(query.shape);
  std::vector<T> weights;
  int64_t row = 0;
  for (const Segment &segment : batch.segments) {
    KvRows<T> &rows = frame.states().kv(state, segment.sequence);
    // What lies at and after the first position was rolled back.
    if (int64_t(rows.keys.size()) < segment.firstPosition * width)
      return failAt(op, "sequence " + Twine(segment.sequence) + " holds no position before " +
                            Twine(segment.firstPosition));
    rows.keys.resize(segment.firstPosition * width);
    rows.values.resize(segment.firstPosition * width);
    for (int64_t t = 0; t < segment.length; ++t, ++row) {
      int64_t position = segment.firstPosition + t;
      appendRounded(state, key.row(row), rows.keys);
      appendRounded(state, value.row(row), rows.values);
      int64_t first = window ? std::max<int64_t>(0, position - window + 1) : 0;
      for (int64_t h = 0; h < heads; ++h) {
        const T *q = query.row(row) + h * dim;
        int64_t kvOffset = h / (heads / kvHeads) * dim;
        weights.assign(position + 1 - first, T(0));
        T largest = -std::numeric_limits<T>::infinity();
        for (int64_t p = first; p <= position; ++p) {
          const T *k = rows.keys.data() + p * width + kvOffset;
          T score = 0;
          for (int64_t i = 0; i < dim; ++i)
            score += q[i] * k[i];
          score *= scale;
          if (cap != 0)
            score = cap * std::tanh(score / cap);
          weights[p - first] = score;
          largest = std::max(largest, score);
        }
        T total = 0;
        for (T &weight : weights)
          total += weight = std::exp(weight - largest);
        T *out = result.row(row) + h * dim;
        for (int64_t p = first; p <= position; ++p) {
          const T *v = rows.values.data() + p * width + kvOffset;
          for (int64_t i = 0; i < dim; ++i)
            out[i] += weights[p - first] / total * v[i];
        }
      }
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
