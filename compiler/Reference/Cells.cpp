//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// graph.recurrent, step by step.
//
#include "compiler/Reference/Frame.h"
#include "compiler/Reference/Rounding.h"

#include <cmath>

using namespace mlir;

namespace mlc::reference {
namespace {

template <typename T> T sigmoid(T x) { return T(1) / (T(1) + std::exp(-x)); }

/// One sequence's row of a layer.
template <typename T> struct Layer {
  const T *w, *r, *bias, *peepholes; // bias: gates * H of w, then of r.
  graph::Cell cell;
  int64_t columns, hidden, gates;

  /// x w_g^T + bias of gate `g`, unit `j`.
  T input(const T *x, int64_t g, int64_t j) const {
    const T *row = w + (g * hidden + j) * columns;
    T sum = bias[g * hidden + j];
    for (int64_t k = 0; k < columns; ++k)
      sum += x[k] * row[k];
    return sum;
  }
  /// h r_g^T + bias_r.
  T recurrent(const T *h, int64_t g, int64_t j) const {
    const T *row = r + (g * hidden + j) * hidden;
    T sum = bias[(gates + g) * hidden + j];
    for (int64_t k = 0; k < hidden; ++k)
      sum += h[k] * row[k];
    return sum;
  }

  /// `h` and `c` become those of the next step.
  void step(const T *x, std::vector<T> &h, std::vector<T> &c) const {
    std::vector<T> next(hidden), reset(hidden);
    if (cell == graph::Cell::gru_reset_first)
      for (int64_t j = 0; j < hidden; ++j)
        reset[j] = sigmoid(input(x, 1, j) + recurrent(h.data(), 1, j)) * h[j];
    for (int64_t j = 0; j < hidden; ++j) {
      auto gate = [&](int64_t g) { return input(x, g, j) + recurrent(h.data(), g, j); };
      switch (cell) {
      case graph::Cell::rnn:
        next[j] = std::tanh(gate(0));
        break;
      case graph::Cell::rnn_relu:
        next[j] = std::max(gate(0), T(0));
        break;
      case graph::Cell::lstm: {
        auto peep = [&](int64_t g) { return peepholes ? peepholes[g * hidden + j] * c[j] : T(0); };
        T i = sigmoid(gate(0) + peep(0)), f = sigmoid(gate(2) + peep(2));
        c[j] = f * c[j] + i * std::tanh(gate(3));
        next[j] = sigmoid(gate(1) + peep(1)) * std::tanh(c[j]);
        break;
      }
      case graph::Cell::gru:
      case graph::Cell::gru_reset_first: {
        T z = sigmoid(gate(0));
        T candidate = cell == graph::Cell::gru
                          ? std::tanh(input(x, 2, j) + sigmoid(gate(1)) * recurrent(h.data(), 2, j))
                          : std::tanh(input(x, 2, j) + recurrent(reset.data(), 2, j));
        next[j] = (T(1) - z) * candidate + z * h[j];
        break;
      }
      }
    }
    h = std::move(next);
  }
};

} // namespace

template <typename T> static llvm::Error evaluateRecurrent(graph::RecurrentOp op, Frame<T> &frame) {
  const Floats<T> &x = frame.floats(op.getX()), &h0 = frame.floats(op.getH0());
  int64_t steps = x.shape[0], batch = x.shape[1], columns = x.shape[2], hidden = h0.shape[1];
  if (h0.shape[0] != batch || (op.getC0() && frame.floats(op.getC0()).shape[0] != batch))
    return failAt(op, "the state has another batch than x");
  const Integers *lengths = op.getLengths() ? &frame.integers(op.getLengths()) : nullptr;
  for (int64_t b = 0; lengths && b < batch; ++b)
    if (int64_t(lengths->data.size()) != batch || lengths->data[b] < 0 || lengths->data[b] > steps)
      return failAt(op, "a length lies outside the sequence");
  Shape shape = {steps, batch, hidden};
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  auto y = Floats<T>::filled(shape);
  Floats<T> last = h0, lastC = op.getC0() ? frame.floats(op.getC0()) : Floats<T>::filled({batch, hidden});
  Layer<T> layer{frame.floats(op.getW()).data.data(),
                 frame.floats(op.getR()).data.data(),
                 frame.floats(op.getBias()).data.data(),
                 op.getPeepholes() ? frame.floats(op.getPeepholes()).data.data() : nullptr,
                 op.getCell(),
                 columns,
                 hidden,
                 frame.shape(op.getR())[0] / hidden};
  Type element = op.getY().getType().getElementType();
  for (int64_t b = 0; b < batch; ++b) {
    int64_t length = lengths ? lengths->data[b] : steps;
    std::vector<T> h(last.row(b), last.row(b) + hidden), c(lastC.row(b), lastC.row(b) + hidden);
    for (int64_t i = 0; i < length; ++i) {
      int64_t t = op.getReverse() ? length - 1 - i : i;
      layer.step(x.data.data() + (t * batch + b) * columns, h, c);
      for (T &value : h)
        value = roundTo(element, value);
      std::copy(h.begin(), h.end(), y.data.begin() + (t * batch + b) * hidden);
    }
    std::copy(h.begin(), h.end(), last.row(b));
    std::copy(c.begin(), c.end(), lastC.row(b));
  }
  frame.set(op.getY(), std::move(y));
  frame.set(op.getH(), std::move(last));
  if (op.getC())
    frame.set(op.getC(), std::move(lastC));
  return llvm::Error::success();
}

template <typename T> void registerCells(Evaluators<T> evaluators) {
  evaluators.template add<graph::RecurrentOp, evaluateRecurrent<T>>();
}
MLC_REFERENCE_FAMILY(registerCells)

} // namespace mlc::reference
