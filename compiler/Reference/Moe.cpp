//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Mixtures of experts: moe and scale_rows.
//
#include "compiler/Reference/Frame.h"
#include "compiler/Reference/Products.h"

#include <cmath>

using namespace mlir;

namespace mlc::reference {
namespace {

template <typename T> struct Route {
  int64_t expert;
  T weight;
};

/// The `count` largest of `scores` among those `allowed`, the lower index first where they are equal.
template <typename T> SmallVector<int64_t> largest(ArrayRef<T> scores, int64_t count, std::vector<bool> allowed) {
  SmallVector<int64_t> chosen;
  while (int64_t(chosen.size()) < count) {
    int64_t best = -1;
    for (auto [i, score] : llvm::enumerate(scores))
      if (allowed[i] && (best < 0 || score > scores[best]))
        best = i;
    allowed[best] = false;
    chosen.push_back(best);
  }
  return chosen;
}

/// Experts of the groups that may be chosen from.
template <typename T> std::vector<bool> allowedExperts(graph::MoeOp op, ArrayRef<T> scores) {
  int64_t groups = op.getGroups(), size = op.getExperts() / groups;
  if (groups == 1)
    return std::vector<bool>(scores.size(), true);
  SmallVector<T> best;
  for (int64_t g = 0; g < groups; ++g) {
    ArrayRef<T> group = scores.slice(g * size, size);
    SmallVector<int64_t> two = largest(group, 2, std::vector<bool>(size, true));
    best.push_back(group[two[0]] + group[two[1]]);
  }
  std::vector<bool> allowed(scores.size(), false);
  for (int64_t g : largest(ArrayRef<T>(best), int64_t(op.getTopGroups()), std::vector<bool>(groups, true)))
    std::fill_n(allowed.begin() + g * size, size, true);
  return allowed;
}

/// exp(l - max) over all of `logits`, and their sum.
template <typename T> T exponentials(ArrayRef<T> logits, SmallVectorImpl<T> &out) {
  T most = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (T logit : logits)
    out.push_back(std::exp(logit - most)), sum += out.back();
  return sum;
}

/// The experts of one token, the best first, and what their outputs are multiplied with.
template <typename T> SmallVector<Route<T>> routeToken(graph::MoeOp op, ArrayRef<T> logits, ArrayRef<float> bias) {
  SmallVector<T> p, scores(logits);
  if (op.getRouter() == graph::RouterForm::sigmoid) {
    for (auto [i, logit] : llvm::enumerate(logits)) {
      p.push_back(T(1) / (T(1) + std::exp(-logit)));
      scores[i] = p.back() + (bias.empty() ? T(0) : T(bias[i]));
    }
  } else if (op.getRouter() == graph::RouterForm::softmax_topk) {
    T sum = exponentials(logits, p);
    for (T &value : p)
      value /= sum;
  }
  SmallVector<int64_t> chosen =
      largest(ArrayRef<T>(scores), int64_t(op.getTopK()), allowedExperts(op, ArrayRef<T>(scores)));
  SmallVector<T> weights;
  T divisor = 1;
  if (op.getRouter() == graph::RouterForm::topk_softmax) {
    SmallVector<T> kept;
    for (int64_t e : chosen)
      kept.push_back(logits[e]);
    divisor = exponentials(ArrayRef<T>(kept), weights);
  } else {
    T sum = 0;
    for (int64_t e : chosen)
      weights.push_back(p[e]), sum += p[e];
    if (op.getNormalize())
      divisor = op.getRouter() == graph::RouterForm::sigmoid ? sum + T(1e-20f) : sum;
  }
  SmallVector<Route<T>> routes;
  for (auto [e, weight] : llvm::zip(chosen, weights))
    routes.push_back({e, weight / divisor * T(op.getScale().convertToFloat())});
  return routes;
}

/// x times the matrix of expert `expert` of `part`, at columns [column, ...) of `result`; the columns behind them.
template <typename T>
llvm::Expected<int64_t> multiplyExpert(graph::MoeOp op, Frame<T> &frame, ArrayAttr part, int64_t expert,
                                       const std::variant<Floats<T>, QuantizedRows> &x, int64_t column,
                                       Floats<T> &result) {
  int64_t experts = op.getExperts();
  // One weight holds all experts, or each has its own.
  graph::WeightOp weight = graph::lookupWeight(op, cast<FlatSymbolRefAttr>(part[part.size() == 1 ? 0 : expert]));
  bool stacked = weight.getTensorType().getRank() == 3;
  int64_t rows = graph::MoeOp::expertRows(weight, experts), first = stacked ? expert * rows : 0;
  if (auto *quantized = std::get_if<QuantizedRows>(&x)) {
    llvm::Expected<const QuantizedWeight *> values = frame.weights().quantized(weight);
    if (!values)
      return values.takeError();
    multiplyQuantized(*quantized, **values, first, rows, column, result);
  } else {
    llvm::Expected<ArrayRef<float>> values = frame.weights().floats(weight);
    if (!values)
      return values.takeError();
    multiply(std::get<Floats<T>>(x), values->slice(first * weight.getColumns(), rows * weight.getColumns()), rows,
             column, result);
  }
  return column + rows;
}

template <typename E> Dense<E> takeRows(const Dense<E> &from, ArrayRef<int64_t> rows) {
  auto result = Dense<E>::filled({int64_t(rows.size()), from.columns()});
  for (auto [i, row] : llvm::enumerate(rows))
    std::copy_n(from.row(row), from.columns(), result.row(i));
  return result;
}

QuantizedRows takeRows(const QuantizedRows &from, ArrayRef<int64_t> rows) {
  QuantizedRows result{int64_t(rows.size()), from.columns, from.group, {}, {}};
  for (int64_t row : rows) {
    result.codes.insert(result.codes.end(), from.codes.begin() + row * from.columns,
                        from.codes.begin() + (row + 1) * from.columns);
    result.scales.insert(result.scales.end(), from.scales.begin() + row * from.groups(),
                         from.scales.begin() + (row + 1) * from.groups());
  }
  return result;
}

/// What expert `expert` makes of `x`: [rows, columns of the op's result].
template <typename T>
llvm::Expected<Floats<T>> evaluateExpert(graph::MoeOp op, Frame<T> &frame, int64_t expert,
                                         std::variant<Floats<T>, QuantizedRows> x, int64_t rows) {
  int64_t columns = 0;
  for (auto part : op.getInto().template getAsRange<ArrayAttr>())
    columns += graph::MoeOp::expertRows(graph::lookupWeight(op, cast<FlatSymbolRefAttr>(part[0])), op.getExperts());
  auto hidden = Floats<T>::filled({rows, columns});
  int64_t column = 0;
  for (auto part : op.getInto().template getAsRange<ArrayAttr>()) {
    llvm::Expected<int64_t> end = multiplyExpert(op, frame, part, expert, x, column, hidden);
    if (!end)
      return end.takeError();
    column = *end;
  }
  if (op.getGated())
    hidden = gateHalves(op.getActivation(), hidden);
  else
    for (T &value : hidden.data)
      value = activate(op.getActivation(), value);
  if (op.getHidden())
    x = quantizeRows(hidden, cast<graph::QuantizedType>(*op.getHidden()).getGroup());
  else
    x = op.getBf16() ? roundedToBf16(std::move(hidden)) : std::move(hidden);
  auto result = Floats<T>::filled({rows, graph::getColumns(op.getResult().getType())});
  llvm::Expected<int64_t> end = multiplyExpert(op, frame, op.getDown(), expert, x, 0, result);
  if (!end)
    return end.takeError();
  return result;
}

} // namespace

template <typename T> static llvm::Error evaluateMoe(graph::MoeOp op, Frame<T> &frame) {
  const Floats<T> &logits = frame.floats(op.getLogits());
  int64_t tokens = logits.rows();
  bool quantized = isa<graph::QuantizedType>(op.getInput().getType());
  if (tokens != (quantized ? frame.quantized(op.getInput()).rows : frame.floats(op.getInput()).rows()))
    return failAt(op, "the logits and the input do not have as many rows");
  Shape shape = {tokens, graph::getColumns(op.getResult().getType())};
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  ArrayRef<float> bias;
  if (FlatSymbolRefAttr name = op.getSelectionBiasAttr()) {
    llvm::Expected<ArrayRef<float>> values = frame.weights().floats(graph::lookupWeight(op, name));
    if (!values)
      return values.takeError();
    bias = *values;
  }
  auto result = Floats<T>::filled(shape);
  if (op.getResidual()) {
    if (frame.floats(op.getResidual()).shape != shape)
      return failAt(op, "the residual does not have the result's shape");
    result = frame.floats(op.getResidual());
  }
  std::vector<SmallVector<int64_t>> rowsOf(op.getExperts());
  std::vector<SmallVector<T>> weightsOf(op.getExperts());
  for (int64_t t = 0; t < tokens; ++t)
    for (Route<T> route : routeToken(op, ArrayRef<T>(logits.row(t), logits.columns()), bias)) {
      rowsOf[route.expert].push_back(t);
      weightsOf[route.expert].push_back(route.weight);
    }
  Floats<T> rounded;
  if (op.getBf16())
    rounded = roundedToBf16(frame.floats(op.getInput()));
  for (int64_t e = 0; e < int64_t(op.getExperts()); ++e) {
    ArrayRef<int64_t> rows = rowsOf[e];
    if (rows.empty())
      continue;
    std::variant<Floats<T>, QuantizedRows> x;
    if (quantized)
      x = takeRows(frame.quantized(op.getInput()), rows);
    else
      x = takeRows(op.getBf16() ? rounded : frame.floats(op.getInput()), rows);
    llvm::Expected<Floats<T>> output = evaluateExpert(op, frame, e, std::move(x), int64_t(rows.size()));
    if (!output)
      return output.takeError();
    for (auto [i, row] : llvm::enumerate(rows))
      for (int64_t n = 0; n < shape[1]; ++n)
        result.row(row)[n] = std::fma(weightsOf[e][i], output->row(i)[n], result.row(row)[n]);
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateScaleRows(graph::ScaleRowsOp op, Frame<T> &frame) {
  Floats<T> result = frame.floats(op.getInput());
  const Floats<T> &factors = frame.floats(op.getFactors());
  if (factors.rows() != result.rows())
    return failAt(op, "the input and its factors do not have as many rows");
  if (llvm::Error error = frame.admit(op, result.shape))
    return error;
  for (int64_t t = 0; t < result.rows(); ++t) {
    T factor = activate(op.getFunction(), factors.row(t)[0]);
    for (int64_t n = 0; n < result.columns(); ++n)
      result.row(t)[n] *= factor;
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> void registerMoe(Evaluators<T> evaluators) {
  evaluators.template add<graph::MoeOp, evaluateMoe<T>>();
  evaluators.template add<graph::ScaleRowsOp, evaluateScaleRows<T>>();
}
MLC_REFERENCE_FAMILY(registerMoe)

} // namespace mlc::reference
