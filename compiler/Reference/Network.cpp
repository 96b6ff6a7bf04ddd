//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Ops of networks: weights as values, convolutions, pooling, matmul, softmax.
//
#include "compiler/Reference/Elementwise.h"
#include "compiler/Reference/Rounding.h"

#include "llvm/Support/Endian.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace mlc::reference {

/// A sum as the result type holds it.
template <typename T> static T finish(Type type, T value) { return roundTo(type, value); }
static int64_t finish(Type type, int64_t value) {
  unsigned bits = type.getIntOrFloatBitWidth();
  return bits <= 1 ? value & 1 : llvm::SignExtend64(uint64_t(value), bits);
}

//===--- Weights ---===//

static int64_t integerAt(const uint8_t *bytes, unsigned size) {
  using namespace llvm::support::endian;
  switch (size) {
  case 1:
    return int8_t(*bytes);
  case 2:
    return int16_t(read16le(bytes));
  case 4:
    return int32_t(read32le(bytes));
  default:
    return int64_t(read64le(bytes));
  }
}

template <typename T> static llvm::Error evaluateRead(graph::ReadOp op, Frame<T> &frame) {
  graph::WeightOp weight = graph::lookupWeight(op, op.getWeightAttr());
  ArrayRef<int64_t> shape = op.getType().getShape();
  Type element = op.getType().getElementType();
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  if (isa<FloatType>(element) && !element.isF64()) {
    llvm::Expected<ArrayRef<float>> values = frame.weights().floats(weight);
    if (!values)
      return values.takeError();
    auto result = Floats<T>::filled(shape);
    result.data.assign(values->begin(), values->end());
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  }
  llvm::Expected<std::vector<uint8_t>> bytes = frame.weights().stored(weight);
  if (!bytes)
    return bytes.takeError();
  unsigned size = std::max(1u, element.getIntOrFloatBitWidth() / 8);
  if (bytes->size() != size_t(elementCount(shape)) * size)
    return failAt(op, "weight " + op.getWeight() + " does not have its type's size");
  auto fill = [&](auto result, auto &&value) {
    for (size_t i = 0; i < result.data.size(); ++i)
      result.data[i] = value(bytes->data() + i * size);
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  };
  if (element.isF64())
    return fill(Floats<T>::filled(shape),
                [](const uint8_t *at) { return T(llvm::bit_cast<double>(integerAt(at, 8))); });
  return fill(Integers::filled(shape), [&](const uint8_t *at) { return finish(element, integerAt(at, size)); });
}

//===--- Windows ---===//

namespace {

/// A window over the spatial axes of an extent, at one place.
struct Window {
  SmallVector<int64_t> extent, kernel, dilations;
  SmallVector<int64_t> base, first, last, tap; // Of tap 0; taps inside the extent: [first, last).

  Window(ArrayRef<int64_t> extent, ArrayRef<int64_t> kernel, ArrayRef<int64_t> dilations)
      : extent(extent), kernel(kernel), dilations(dilations) {}

  /// How many places the window has on each axis, with padding in front and behind.
  SmallVector<int64_t> places(ArrayRef<int64_t> strides, ArrayRef<int64_t> pads) const {
    SmallVector<int64_t> counts;
    for (size_t axis = 0; axis < extent.size(); ++axis) {
      int64_t room = extent[axis] + pads[axis] + pads[axis + extent.size()] - (kernel[axis] - 1) * dilations[axis] - 1;
      counts.push_back(room < 0 ? 0 : room / strides[axis] + 1);
    }
    return counts;
  }

  /// Puts tap 0 at `at`; false when no tap lies inside.
  bool place(ArrayRef<int64_t> at) {
    base.assign(at.begin(), at.end());
    first.clear();
    last.clear();
    bool any = true;
    for (size_t axis = 0; axis < extent.size(); ++axis) {
      int64_t d = dilations[axis];
      first.push_back(base[axis] >= 0 ? 0 : (-base[axis] + d - 1) / d);
      int64_t behind = extent[axis] - base[axis];
      last.push_back(behind <= 0 ? 0 : std::min(kernel[axis], (behind + d - 1) / d));
      any &= first.back() < last.back();
    }
    tap = first;
    return any;
  }
  bool next() {
    for (size_t axis = extent.size(); axis-- > 0;) {
      if (++tap[axis] < last[axis])
        return true;
      tap[axis] = first[axis];
    }
    return false;
  }
  int64_t tapIndex() const {
    int64_t index = 0;
    for (size_t axis = 0; axis < extent.size(); ++axis)
      index = index * kernel[axis] + tap[axis];
    return index;
  }
  int64_t position() const {
    int64_t index = 0;
    for (size_t axis = 0; axis < extent.size(); ++axis)
      index = index * extent[axis] + base[axis] + tap[axis] * dilations[axis];
    return index;
  }
};

/// The next index of `shape` in row-major order; false after the last.
bool advance(SmallVector<int64_t> &index, ArrayRef<int64_t> shape) {
  for (size_t axis = shape.size(); axis-- > 0;) {
    if (++index[axis] < shape[axis])
      return true;
    index[axis] = 0;
  }
  return false;
}

SmallVector<int64_t> scaled(ArrayRef<int64_t> index, ArrayRef<int64_t> strides, ArrayRef<int64_t> pads) {
  SmallVector<int64_t> at;
  for (size_t axis = 0; axis < index.size(); ++axis)
    at.push_back(index[axis] * strides[axis] - pads[axis]);
  return at;
}

} // namespace

/// The result's shape: its type's, and where that is dynamic, `spatial`.
static Shape resultShape(RankedTensorType type, int64_t batch, int64_t channels, ArrayRef<int64_t> spatial) {
  Shape shape(type.getShape());
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (ShapedType::isDynamic(shape[axis]))
      shape[axis] = axis == 0 ? batch : axis == 1 ? channels : spatial[axis - 2];
  return shape;
}

template <typename Op, typename T, typename F> static llvm::Error withKind(Op op, Frame<T> &frame, F &&function) {
  return frame.isFloat(op->getOperand(0)) ? function(Floats<T>()) : function(Integers());
}

template <typename D, typename T> static const D &get(Value value, Frame<T> &frame) {
  return std::get<D>(*frame.ref(value));
}

template <typename T> static llvm::Error evaluateConv(graph::ConvOp op, Frame<T> &frame) {
  return withKind(op, frame, [&](auto kind) -> llvm::Error {
    using D = decltype(kind);
    using E = std::decay_t<decltype(kind.data.front())>;
    const D &x = get<D>(op.getInput(), frame), &filter = get<D>(op.getFilter(), frame);
    const D *bias = op.getBias() ? &get<D>(op.getBias(), frame) : nullptr;
    size_t spatial = x.shape.size() - 2;
    Window window(ArrayRef<int64_t>(x.shape).drop_front(2), ArrayRef<int64_t>(filter.shape).drop_front(2),
                  op.getDilations());
    Shape shape = resultShape(op.getResult().getType(), x.shape[0], filter.shape[0],
                              window.places(op.getStrides(), op.getPads()));
    if (llvm::Error error = frame.admit(op, shape))
      return error;
    D result = D::filled(shape);
    ArrayRef<int64_t> places = ArrayRef<int64_t>(shape).drop_front(2);
    int64_t perGroup = filter.shape[1], outputs = shape[1], outputsPerGroup = outputs / int64_t(op.getGroups());
    int64_t planeIn = elementCount(window.extent), planeOut = elementCount(places), taps = elementCount(window.kernel);
    SmallVector<int64_t> place(spatial, 0);
    Type element = op.getResult().getType().getElementType();
    std::vector<std::pair<int64_t, int64_t>> inside; // Tap and position of each that meets a value.
    for (int64_t o = 0; o < planeOut; ++o, advance(place, places)) {
      inside.clear();
      if (window.place(scaled(place, op.getStrides(), op.getPads())))
        do
          inside.emplace_back(window.tapIndex(), window.position());
        while (window.next());
      for (int64_t b = 0; b < shape[0]; ++b)
        for (int64_t m = 0; m < outputs; ++m) {
          E sum = bias ? bias->data[m] : E(0);
          for (int64_t c = 0; c < perGroup; ++c) {
            const E *from = x.data.data() + (b * x.shape[1] + m / outputsPerGroup * perGroup + c) * planeIn;
            const E *w = filter.data.data() + (m * perGroup + c) * taps;
            for (auto [tap, position] : inside)
              sum += from[position] * w[tap];
          }
          result.data[(b * outputs + m) * planeOut + o] = finish(element, sum);
        }
    }
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  });
}

template <typename T> static llvm::Error evaluateConvTranspose(graph::ConvTransposeOp op, Frame<T> &frame) {
  return withKind(op, frame, [&](auto kind) -> llvm::Error {
    using D = decltype(kind);
    using E = std::decay_t<decltype(kind.data.front())>;
    const D &x = get<D>(op.getInput(), frame), &filter = get<D>(op.getFilter(), frame);
    const D *bias = op.getBias() ? &get<D>(op.getBias(), frame) : nullptr;
    size_t spatial = x.shape.size() - 2;
    int64_t groups = op.getGroups(), inputs = x.shape[1], perGroup = filter.shape[1], outputs = perGroup * groups;
    SmallVector<int64_t> extents;
    ArrayRef<int64_t> places = ArrayRef<int64_t>(x.shape).drop_front(2);
    for (size_t axis = 0; axis < spatial; ++axis)
      extents.push_back(std::max<int64_t>(0, (places[axis] - 1) * op.getStrides()[axis] +
                                                 (filter.shape[axis + 2] - 1) * op.getDilations()[axis] + 1 -
                                                 op.getPads()[axis] - op.getPads()[axis + spatial]));
    Shape shape = resultShape(op.getResult().getType(), x.shape[0], outputs, extents);
    if (llvm::Error error = frame.admit(op, shape))
      return error;
    D result = D::filled(shape);
    Window window(ArrayRef<int64_t>(shape).drop_front(2), ArrayRef<int64_t>(filter.shape).drop_front(2),
                  op.getDilations());
    int64_t planeIn = elementCount(places), planeOut = elementCount(window.extent), taps = elementCount(window.kernel);
    for (int64_t b = 0; bias && b < shape[0]; ++b)
      for (int64_t m = 0; m < outputs; ++m)
        std::fill_n(result.data.begin() + (b * outputs + m) * planeOut, planeOut, bias->data[m]);
    SmallVector<int64_t> place(spatial, 0);
    for (int64_t i = 0; i < planeIn; ++i, advance(place, places)) {
      if (!window.place(scaled(place, op.getStrides(), op.getPads())))
        continue;
      do {
        int64_t tap = window.tapIndex(), position = window.position();
        for (int64_t b = 0; b < shape[0]; ++b)
          for (int64_t c = 0; c < inputs; ++c)
            for (int64_t m = 0; m < perGroup; ++m) {
              int64_t output = c / (inputs / groups) * perGroup + m;
              result.data[(b * outputs + output) * planeOut + position] +=
                  x.data[(b * inputs + c) * planeIn + i] * E(filter.data[(c * perGroup + m) * taps + tap]);
            }
      } while (window.next());
    }
    Type element = op.getResult().getType().getElementType();
    for (E &value : result.data)
      value = finish(element, value);
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  });
}

template <typename T> static llvm::Error evaluatePool(graph::PoolOp op, Frame<T> &frame) {
  return withKind(op, frame, [&](auto kind) -> llvm::Error {
    using D = decltype(kind);
    using E = std::decay_t<decltype(kind.data.front())>;
    const D &x = get<D>(op.getInput(), frame);
    size_t spatial = x.shape.size() - 2;
    Window window(ArrayRef<int64_t>(x.shape).drop_front(2), op.getKernel(), op.getDilations());
    Shape shape =
        resultShape(op.getResult().getType(), x.shape[0], x.shape[1], window.places(op.getStrides(), op.getPads()));
    if (llvm::Error error = frame.admit(op, shape))
      return error;
    D result = D::filled(shape);
    Integers indices = Integers::filled(op.getIndices() ? ArrayRef<int64_t>(shape) : ArrayRef<int64_t>{0});
    ArrayRef<int64_t> places = ArrayRef<int64_t>(shape).drop_front(2);
    int64_t planeIn = elementCount(window.extent), planeOut = elementCount(places);
    Type element = op.getResult().getType().getElementType();
    SmallVector<int64_t> place(spatial, 0);
    for (int64_t o = 0; o < planeOut; ++o, advance(place, places)) {
      SmallVector<int64_t> at = scaled(place, op.getStrides(), op.getPads());
      std::vector<int64_t> inside;
      if (window.place(at))
        do
          inside.push_back(window.position());
        while (window.next());
      if (llvm::Error error = frame.spend(op, int64_t(inside.size())))
        return error;
      // What lies in the padding counts too, what lies behind it does not.
      T padded = 1;
      for (size_t axis = 0; axis < spatial; ++axis) {
        int64_t room = window.extent[axis] + op.getPads()[axis + spatial] - at[axis], d = window.dilations[axis];
        padded *= T(std::min(window.kernel[axis], room <= 0 ? 0 : (room + d - 1) / d));
      }
      for (int64_t plane = 0; plane < shape[0] * shape[1]; ++plane) {
        const E *from = x.data.data() + plane * planeIn;
        E value;
        if (op.getKind() == graph::PoolKind::max) {
          int64_t best = -1;
          for (int64_t position : inside)
            if (best < 0 || from[position] > from[best])
              best = position;
          // Of no value, as DecomposeWindows has it.
          using Limits = std::numeric_limits<E>;
          value = best >= 0 ? from[best] : Limits::has_infinity ? E(-Limits::infinity()) : Limits::lowest();
          if (op.getIndices())
            indices.data[plane * planeOut + o] = best >= 0 ? plane * planeIn + best : -1;
        } else {
          T sum = 0, p = T(op.getP());
          for (int64_t position : inside)
            sum += op.getKind() == graph::PoolKind::lp ? std::pow(std::abs(T(from[position])), p) : T(from[position]);
          value = E(op.getKind() == graph::PoolKind::lp        ? std::pow(sum, T(1) / p)
                    : op.getKind() == graph::PoolKind::average ? sum / T(inside.size())
                                                               : sum / padded);
        }
        result.data[plane * planeOut + o] = finish(element, value);
      }
    }
    frame.set(op.getResult(), std::move(result));
    if (op.getIndices())
      frame.set(op.getIndices(), std::move(indices));
    return llvm::Error::success();
  });
}

template <typename T> static llvm::Error evaluateResize(graph::ResizeOp op, Frame<T> &frame) {
  const Floats<T> &x = frame.floats(op.getInput());
  ArrayRef<int64_t> to = op.getResult().getType().getShape();
  Shape shape{x.shape[0], x.shape[1], to[2], to[3]};
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  auto result = Floats<T>::filled(shape);
  int64_t height = x.shape[2], width = x.shape[3], planes = shape[0] * shape[1];
  Type element = op.getResult().getType().getElementType();
  for (int64_t o = 0; o < to[2]; ++o) {
    auto row = op.between(2, o);
    for (int64_t p = 0; p < to[3]; ++p) {
      auto column = op.between(3, p);
      for (int64_t plane = 0; plane < planes; ++plane) {
        auto along = [&](int64_t i) {
          const T *from = x.data.data() + (plane * height + i) * width;
          return from[column.before] * T(1 - column.share) + from[column.behind] * T(column.share);
        };
        T value = along(row.before) * T(1 - row.share) + along(row.behind) * T(row.share);
        result.data[(plane * to[2] + o) * to[3] + p] = roundTo(element, value);
      }
    }
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

//===--- Products and softmax ---===//

template <typename T> static llvm::Error evaluateMatmul(graph::MatmulOp op, Frame<T> &frame) {
  return withKind(op, frame, [&](auto kind) -> llvm::Error {
    using D = decltype(kind);
    using E = std::decay_t<decltype(kind.data.front())>;
    const D &a = get<D>(op.getA(), frame), &b = get<D>(op.getB(), frame);
    size_t rank = a.shape.size();
    Shape shape;
    for (size_t axis = 0; axis + 2 < rank; ++axis) {
      if (a.shape[axis] != b.shape[axis] && a.shape[axis] != 1 && b.shape[axis] != 1)
        return failAt(op, "leading axes do not agree");
      shape.push_back(a.shape[axis] == 1 ? b.shape[axis] : a.shape[axis]);
    }
    int64_t rows = a.shape[rank - 2], inner = a.shape[rank - 1], columns = b.shape[rank - 1];
    if (inner != b.shape[rank - 2])
      return failAt(op, "the inner axes do not agree");
    SmallVector<int64_t> batch(shape.begin(), shape.end());
    shape.push_back(rows);
    shape.push_back(columns);
    if (llvm::Error error = frame.admit(op, shape))
      return error;
    D result = D::filled(shape);
    Type element = op.getResult().getType().getElementType();
    SmallVector<int64_t> index(batch.size(), 0);
    std::vector<E> sums(columns);
    for (int64_t n = 0, count = elementCount(batch); n < count; ++n, advance(index, batch)) {
      int64_t fromA = 0, fromB = 0;
      for (size_t axis = 0; axis < batch.size(); ++axis) {
        fromA = fromA * a.shape[axis] + (a.shape[axis] == 1 ? 0 : index[axis]);
        fromB = fromB * b.shape[axis] + (b.shape[axis] == 1 ? 0 : index[axis]);
      }
      for (int64_t m = 0; m < rows; ++m) {
        std::fill(sums.begin(), sums.end(), E(0));
        for (int64_t k = 0; k < inner; ++k) {
          E left = a.data[(fromA * rows + m) * inner + k];
          const E *right = b.data.data() + (fromB * inner + k) * columns;
          for (int64_t c = 0; c < columns; ++c)
            sums[c] += left * right[c];
        }
        for (int64_t c = 0; c < columns; ++c)
          result.data[(n * rows + m) * columns + c] = finish(element, sums[c]);
      }
    }
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  });
}

template <typename T> static llvm::Error evaluateSoftmax(graph::SoftmaxOp op, Frame<T> &frame) {
  const Floats<T> &x = frame.floats(op.getInput());
  if (llvm::Error error = frame.admit(op, x.shape))
    return error;
  auto result = Floats<T>::filled(x.shape);
  ArrayRef<int64_t> shape = x.shape;
  size_t axis = op.getAxis();
  int64_t extent = shape[axis], inner = elementCount(shape.drop_front(axis + 1));
  Type element = op.getResult().getType().getElementType();
  for (int64_t outer = 0, count = elementCount(shape.take_front(axis)); outer < count; ++outer)
    for (int64_t i = 0; i < inner; ++i) {
      const T *from = x.data.data() + outer * extent * inner + i;
      T *to = result.data.data() + outer * extent * inner + i;
      T largest = -std::numeric_limits<T>::infinity(), sum = 0;
      for (int64_t k = 0; k < extent; ++k)
        largest = std::max(largest, from[k * inner]);
      // Of f16 and bf16 each power and their sum are rounded; a logarithm is rounded once.
      auto power = [&](int64_t k) {
        T value = std::exp(from[k * inner] - largest);
        return op.getLog() ? value : roundTo(element, value);
      };
      for (int64_t k = 0; k < extent; ++k)
        sum += power(k);
      if (!op.getLog())
        sum = roundTo(element, sum);
      for (int64_t k = 0; k < extent; ++k)
        to[k * inner] = roundTo(element, op.getLog() ? from[k * inner] - largest - std::log(sum) : power(k) / sum);
    }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> void registerNetwork(Evaluators<T> evaluators) {
  evaluators.template add<graph::ReadOp, evaluateRead<T>>();
  evaluators.template add<graph::ConvOp, evaluateConv<T>>();
  evaluators.template add<graph::ConvTransposeOp, evaluateConvTranspose<T>>();
  evaluators.template add<graph::PoolOp, evaluatePool<T>>();
  evaluators.template add<graph::ResizeOp, evaluateResize<T>>();
  evaluators.template add<graph::MatmulOp, evaluateMatmul<T>>();
  evaluators.template add<graph::SoftmaxOp, evaluateSoftmax<T>>();
}
MLC_REFERENCE_FAMILY(registerNetwork)

} // namespace mlc::reference
