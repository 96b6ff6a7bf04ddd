//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Ops that choose and place values by value: scatter, sort, nonzero, non_max_suppression.
//
#include "compiler/Reference/Frame.h"
#include "compiler/Reference/Rounding.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace mlc::reference {

static Type elementOf(Value value) { return cast<RankedTensorType>(value.getType()).getElementType(); }

/// a < b; NaN is above every number.
template <typename T> static bool isLess(T a, T b, bool) { return std::isnan(b) ? !std::isnan(a) : a < b; }
static bool isLess(int64_t a, int64_t b, bool isUnsigned) { return isUnsigned ? uint64_t(a) < uint64_t(b) : a < b; }

/// By what the indices stand for; of equal ones the lower comes first.
template <typename F> static void sortIndices(std::vector<int64_t> &indices, F &&less) {
  llvm::sort(indices, [&](int64_t a, int64_t b) { return less(a, b) || (!less(b, a) && a < b); });
}

template <typename T> static T stored(Type type, T value) { return roundTo(type, value); }
static int64_t stored(Type type, int64_t value) {
  unsigned bits = type.getIntOrFloatBitWidth();
  return bits <= 1 ? value & 1 : llvm::SignExtend64(uint64_t(value), bits);
}

//===--- scatter ---===//

template <typename E> static E combined(graph::ScatterKind kind, E old, E update, bool isUnsigned) {
  switch (kind) {
  case graph::ScatterKind::replace:
    return update;
  case graph::ScatterKind::add:
    if constexpr (std::is_integral_v<E>)
      return E(uint64_t(old) + uint64_t(update));
    return old + update;
  case graph::ScatterKind::multiply:
    if constexpr (std::is_integral_v<E>)
      return E(uint64_t(old) * uint64_t(update));
    return old * update;
  case graph::ScatterKind::max:
    return isLess(old, update, isUnsigned) ? update : old;
  case graph::ScatterKind::min:
    return isLess(update, old, isUnsigned) ? update : old;
  }
  llvm_unreachable("covered switch");
}

template <typename T> static llvm::Error evaluateScatter(graph::ScatterOp op, Frame<T> &frame) {
  const Integers &indices = frame.integers(op.getIndices());
  auto run = [&](const auto &into) -> llvm::Error {
    using D = std::decay_t<decltype(into)>;
    const D &updates = std::get<D>(*frame.ref(op.getUpdates()));
    if (llvm::Error error = frame.admit(op, into.shape))
      return error;
    if (llvm::Error error = frame.spend(op, int64_t(updates.data.size())))
      return error;
    D result = into;
    Type element = elementOf(op.getInto());
    int64_t depth = indices.shape[1];
    int64_t inner = elementCount(ArrayRef<int64_t>(into.shape).drop_front(depth));
    if (updates.shape[0] != indices.shape[0] || int64_t(updates.data.size()) != indices.shape[0] * inner)
      return failAt(op, "there is not one update for each row of indices");
    for (int64_t row = 0; row < indices.shape[0]; ++row) {
      int64_t at = 0;
      for (int64_t k = 0; k < depth; ++k) {
        int64_t index = indices.data[row * depth + k];
        if (index < 0 || index >= into.shape[k])
          return failAt(op, "index " + Twine(index) + " lies outside axis " + Twine(k));
        at = at * into.shape[k] + index;
      }
      for (int64_t i = 0; i < inner; ++i) {
        auto &value = result.data[at * inner + i];
        value = stored(element, combined(op.getKind(), value, updates.data[row * inner + i], op.getIsUnsigned()));
      }
    }
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  };
  return frame.isFloat(op.getInto()) ? run(frame.floats(op.getInto())) : run(frame.integers(op.getInto()));
}

//===--- sort ---===//

template <typename T> static llvm::Error evaluateSort(graph::SortOp op, Frame<T> &frame) {
  auto run = [&](const auto &input) -> llvm::Error {
    if (llvm::Error error = frame.admit(op, input.shape))
      return error;
    auto values = input;
    Integers indices = Integers::filled(input.shape);
    ArrayRef<int64_t> shape = input.shape;
    int64_t axis = op.getAxis(), extent = shape[axis], inner = elementCount(shape.drop_front(axis + 1));
    std::vector<int64_t> order(extent);
    for (int64_t outer = 0, count = elementCount(shape.take_front(axis)); outer < count; ++outer)
      for (int64_t i = 0; i < inner; ++i) {
        auto *from = input.data.data() + outer * extent * inner + i;
        std::iota(order.begin(), order.end(), 0);
        sortIndices(order, [&](int64_t a, int64_t b) {
          if (op.getDescending())
            std::swap(a, b);
          return isLess(from[a * inner], from[b * inner], op.getIsUnsigned());
        });
        for (int64_t k = 0; k < extent; ++k) {
          int64_t at = (outer * extent + k) * inner + i;
          values.data[at] = from[order[k] * inner];
          indices.data[at] = order[k];
        }
      }
    frame.set(op.getValues(), std::move(values));
    frame.set(op.getIndices(), std::move(indices));
    return llvm::Error::success();
  };
  return frame.isFloat(op.getInput()) ? run(frame.floats(op.getInput())) : run(frame.integers(op.getInput()));
}

//===--- nonzero ---===//

template <typename T> static llvm::Error evaluateNonzero(graph::NonzeroOp op, Frame<T> &frame) {
  auto run = [&](const auto &input) -> llvm::Error {
    std::vector<int64_t> found;
    for (size_t i = 0; i < input.data.size(); ++i)
      if (input.data[i] != 0)
        found.push_back(int64_t(i));
    int64_t rank = int64_t(input.shape.size()), count = int64_t(found.size());
    if (llvm::Error error = frame.admit(op, {rank, count}))
      return error;
    Integers result = Integers::filled({rank, count});
    for (int64_t axis = rank; axis-- > 0;)
      for (int64_t i = 0; i < count; ++i) {
        result.data[axis * count + i] = found[i] % input.shape[axis];
        found[i] /= input.shape[axis];
      }
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  };
  return frame.isFloat(op.getInput()) ? run(frame.floats(op.getInput())) : run(frame.integers(op.getInput()));
}

//===--- non_max_suppression ---===//

namespace {
template <typename T> struct Box {
  T top, left, bottom, right;

  Box(const T *v, bool centers) {
    if (centers) {
      top = v[1] - v[3] / 2, bottom = v[1] + v[3] / 2;
      left = v[0] - v[2] / 2, right = v[0] + v[2] / 2;
    } else {
      top = std::min(v[0], v[2]), bottom = std::max(v[0], v[2]);
      left = std::min(v[1], v[3]), right = std::max(v[1], v[3]);
    }
  }
  T area() const { return (bottom - top) * (right - left); }
  T overlap(const Box &other) const {
    T height = std::min(bottom, other.bottom) - std::max(top, other.top);
    T width = std::min(right, other.right) - std::max(left, other.left);
    if (!(height > 0) || !(width > 0))
      return 0;
    T both = height * width;
    return both / (area() + other.area() - both);
  }
};
} // namespace

template <typename T> static llvm::Error evaluateNonMaxSuppression(graph::NonMaxSuppressionOp op, Frame<T> &frame) {
  const Floats<T> &boxes = frame.floats(op.getBoxes()), &scores = frame.floats(op.getScores());
  int64_t most = frame.integer(op.getMost()), classes = scores.shape[1], count = scores.shape[2];
  T overlap = frame.floats(op.getOverlap()).data.front();
  std::vector<int64_t> order, kept;
  Integers result;
  for (int64_t batch = 0; batch < scores.shape[0]; ++batch) {
    auto boxAt = [&](int64_t i) { return Box<T>(boxes.data.data() + (batch * count + i) * 4, op.getCenters()); };
    for (int64_t label = 0; label < classes; ++label) {
      const T *score = scores.data.data() + (batch * classes + label) * count;
      order.clear();
      kept.clear();
      for (int64_t i = 0; i < count; ++i)
        if (!op.getLeast() || score[i] > frame.floats(op.getLeast()).data.front())
          order.push_back(i);
      sortIndices(order, [&](int64_t a, int64_t b) { return isLess(score[b], score[a], false); });
      for (int64_t candidate : order) {
        if (int64_t(kept.size()) >= most)
          break;
        if (llvm::Error error = frame.spend(op, int64_t(kept.size()) + 1))
          return error;
        Box<T> box = boxAt(candidate);
        if (llvm::any_of(kept, [&](int64_t other) { return box.overlap(boxAt(other)) > overlap; }))
          continue;
        kept.push_back(candidate);
        result.data.insert(result.data.end(), {batch, label, candidate});
      }
    }
  }
  result.shape = {int64_t(result.data.size()) / 3, 3};
  if (llvm::Error error = frame.admit(op, result.shape))
    return error;
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> void registerSelection(Evaluators<T> evaluators) {
  evaluators.template add<graph::ScatterOp, evaluateScatter<T>>();
  evaluators.template add<graph::SortOp, evaluateSort<T>>();
  evaluators.template add<graph::NonzeroOp, evaluateNonzero<T>>();
  evaluators.template add<graph::NonMaxSuppressionOp, evaluateNonMaxSuppression<T>>();
}
MLC_REFERENCE_FAMILY(registerSelection)

} // namespace mlc::reference
