//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Signals: transforms, as products with matrices of cosines and sines; windows and filter banks, which are constants.
//
#include "compiler/Import/ONNX/GraphImporter.h"

#include "llvm/ADT/APFloat.h"

#include <cmath>

using namespace mlir;

namespace mlc::onnx {

static constexpr int64_t kMostElements = int64_t(1) << 22; // Of a matrix that is written into the graph.
static constexpr double kPi = 3.14159265358979323846;

/// values[i...] as a constant of `type`.
template <typename F> static Tensor tabulated(Emitter &e, ArrayRef<int64_t> shape, DType type, F &&value) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  auto tensor = RankedTensorType::get(shape, type.type);
  if (type.type.isF32()) {
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i)
      values.push_back(float(value(i)));
    return e.constant(DenseElementsAttr::get(tensor, ArrayRef<float>(values)));
  }
  if (type.type.isF64()) {
    std::vector<double> values;
    for (int64_t i = 0; i < count; ++i)
      values.push_back(double(value(i)));
    return e.constant(DenseElementsAttr::get(tensor, ArrayRef<double>(values)));
  }
  auto floats = cast<FloatType>(type.type);
  SmallVector<APFloat> values;
  for (int64_t i = 0; i < count; ++i) {
    APFloat each(double(value(i)));
    bool inexact;
    each.convert(floats.getFloatSemantics(), APFloat::rmNearestTiesToEven, &inexact);
    values.push_back(each);
  }
  return e.constant(DenseElementsAttr::get(tensor, values));
}

//===--- DFT, STFT ---===//

namespace {

/// y[k] = sum over j of x[j] e^(-+ 2 pi i j k / length), k < outputs, j < inputs.
struct Transform {
  int64_t inputs, length, outputs;
  bool inverse;
};

} // namespace

/// x [..., inputs, 1 or 2] (real, or real and imaginary) to [..., outputs, 2], times `factor`.
static Tensor transformed(Node &n, const Tensor &x, const Transform &transform, double factor) {
  Emitter &e = n.e;
  int64_t rank = x.rank(), used = std::min(transform.inputs, transform.length), outputs = transform.outputs;
  if (used * outputs > kMostElements)
    return e.fail("transforms more values than are supported (" + Twine(used) + " to " + Twine(outputs) + ")");
  Dims plane(ArrayRef<Dim>(x.shape).drop_back());
  plane.back() = e.dim(used);
  Tensor kept = e.sliceAxis(x, rank - 2, e.dim(0), e.dim(used));
  auto part = [&](int64_t i) { return e.reshape(e.sliceAxis(kept, rank - 1, e.dim(i), e.dim(1)), plane); };
  auto matrix = [&](bool sine) {
    return tabulated(e, {used, outputs}, x.dtype(), [&](int64_t i) {
      // The angle of the remainder is exact for long transforms too.
      double angle = 2 * kPi * double((i / outputs) * (i % outputs) % transform.length) / double(transform.length);
      return factor * (sine ? (transform.inverse ? std::sin(angle) : -std::sin(angle)) : std::cos(angle));
    });
  };
  Tensor cosine = matrix(false), sine = matrix(true), re = part(0);
  Tensor real = e.matmul(re, cosine), imaginary = e.matmul(re, sine);
  if (e.constant(x.shape.back()) == 2) {
    Tensor im = part(1);
    real = e.sub(real, e.matmul(im, sine));
    imaginary = e.add(imaginary, e.matmul(im, cosine));
  }
  return e.concat({e.unsqueeze(real, rank - 1), e.unsqueeze(imaginary, rank - 1)}, rank - 1);
}

/// The real values of a spectrum [..., inputs, 2] whose other half is its mirror image: [..., length, 1].
static Tensor mirrored(Node &n, const Tensor &x, int64_t inputs, int64_t length) {
  Emitter &e = n.e;
  int64_t rank = x.rank(), used = std::min(inputs, length / 2 + 1);
  if (used * length > kMostElements)
    return e.fail("transforms more values than are supported (" + Twine(length) + ")");
  Dims plane(ArrayRef<Dim>(x.shape).drop_back());
  plane.back() = e.dim(used);
  Tensor kept = e.sliceAxis(x, rank - 2, e.dim(0), e.dim(used));
  auto matrix = [&](bool sine) {
    return tabulated(e, {used, length}, x.dtype(), [&](int64_t i) {
      int64_t j = i / length, k = i % length;
      double angle = 2 * kPi * double(j * k % length) / double(length);
      // All but the first, and the middle of an even length, stand for two.
      double weight = (j == 0 || 2 * j == length ? 1.0 : 2.0) / double(length);
      return weight * (sine ? -std::sin(angle) : std::cos(angle));
    });
  };
  auto part = [&](int64_t i) { return e.reshape(e.sliceAxis(kept, rank - 1, e.dim(i), e.dim(1)), plane); };
  Tensor y = e.matmul(part(0), matrix(false));
  if (e.constant(x.shape.back()) == 2)
    y = e.add(y, e.matmul(part(1), matrix(true)));
  return e.unsqueeze(y, rank - 1);
}

static void bindDft(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  bool inverse = n.intAttr("inverse", 0), oneSided = n.intAttr("onesided", 0);
  if (!x)
    return;
  std::optional<Ints> given, axes = Ints{n.version < 20 ? n.intAttr("axis", 1) : -2};
  if (n.has(1))
    given = n.constantInts(1);
  if (n.version >= 20 && n.has(2))
    axes = n.constantInts(2);
  if (e.failed())
    return;
  std::optional<int64_t> parts = x.rank() ? e.constant(x.shape.back()) : std::nullopt;
  if (!x.isFloat() || x.rank() < 2 || (parts != 1 && parts != 2) || axes->size() != 1 || (given && given->size() != 1))
    return n.fail("takes floats [..., 1 or 2], one axis and one length");
  int64_t axis = n.axis(axes->front(), x.rank()), last = x.rank() - 2;
  if (e.failed())
    return;
  std::optional<int64_t> inputs = e.constant(x.shape[axis]);
  if (axis > last || !inputs || *inputs < 1)
    return n.fail("transforms an axis of a fixed extent before the last");
  int64_t length = given ? given->front() : inverse && oneSided ? 2 * (*inputs - 1) : *inputs;
  if (length < 1 || length > kMostElements)
    return n.fail("has an impossible dft_length");
  Ints swap = llvm::to_vector<4>(llvm::seq<int64_t>(0, x.rank()));
  std::swap(swap[axis], swap[last]);
  Tensor wide = e.transpose(e.widened(x), swap), y;
  if (!wide)
    return;
  if (inverse && oneSided)
    y = mirrored(n, wide, *inputs, length);
  else
    y = transformed(n, wide, {*inputs, length, oneSided ? length / 2 + 1 : length, inverse},
                    inverse ? 1 / double(length) : 1);
  n.give(e.cast(e.transpose(y, swap), x.dtype()));
}

/// Frames of a signal [B, S, 1 or 2], each times the window, transformed: [B, frames, bins, 2].
static void bindStft(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), window = n.optional(2);
  std::optional<Ints> step = n.constantInts(1), given;
  bool oneSided = n.intAttr("onesided", 1);
  if (n.has(3))
    given = n.constantInts(3);
  if (!x || !step || e.failed())
    return;
  if (x.rank() == 2)
    x = e.unsqueeze(x, 2);
  std::optional<int64_t> size = x.rank() == 3 ? e.constant(x.shape[1]) : std::nullopt,
                         parts = x.rank() == 3 ? e.constant(x.shape[2]) : std::nullopt,
                         taps = window && window.rank() == 1 ? e.constant(window.shape[0]) : std::nullopt;
  if (!x.isFloat() || !size || (parts != 1 && parts != 2) || step->size() != 1 || step->front() < 1 ||
      (given && given->size() != 1) || (window && (!taps || window.dtype() != x.dtype())))
    return n.fail("takes a signal [batch, samples, 1 or 2] of a fixed length, a step, and a window [size] of its type");
  int64_t length = given ? given->front() : taps.value_or(*size), hop = step->front();
  if (length < 1 || length > *size || (taps && *taps != length) || hop > *size)
    return n.fail("has a frame_length that does not fit its signal or window");
  int64_t frames = (*size - length) / hop + 1;
  Tensor wide = e.widened(x);
  Tensor cut = e.generate({x.shape[0], e.dim(frames), e.dim(length), x.shape[2]}, wide.dtype(),
                          [&](OpBuilder &body, ArrayRef<Value> at) {
                            Value begin = body.create<arith::MulIOp>(e.loc, at[1], e.constantIndex(body, hop));
                            Value place = body.create<arith::AddIOp>(e.loc, begin, at[2]);
                            return e.at(body, wide, {at[0], place, at[3]});
                          });
  if (window)
    cut = e.mul(cut, e.reshape(e.widened(window), {e.dim(length), e.dim(1)}));
  if (cut)
    n.give(e.cast(transformed(n, cut, {length, length, oneSided ? length / 2 + 1 : length, false}, 1), x.dtype()));
}

//===--- Windows and filter banks ---===//

static std::optional<DType> floatType(Node &n) {
  std::optional<DType> type = n.importer.dtype(int32_t(n.intAttr("output_datatype", 1)));
  if (type && !type->isFloat()) {
    n.fail("gives another type than floats, which is not supported");
    return std::nullopt;
  }
  return type;
}

/// a - b cos(2 pi i / N) + c cos(4 pi i / N), N the size, less 1 where the window is symmetric.
template <int kind> static void bindWindow(Node &n) {
  std::optional<Ints> size = n.constantInts(0);
  bool periodic = n.intAttr("periodic", 1);
  std::optional<DType> type = floatType(n);
  if (!size || !type)
    return;
  if (size->size() != 1 || size->front() < 0 || size->front() > kMostElements)
    return n.fail("needs a size");
  static constexpr double terms[3][3] = {{0.5, 0.5, 0}, {25.0 / 46, 21.0 / 46, 0}, {0.42, 0.5, 0.08}};
  double length = double(size->front()) - !periodic;
  n.give(tabulated(n.e, *size, *type, [&](int64_t i) {
    double angle = length > 0 ? 2 * kPi * double(i) / length : 0;
    return terms[kind][0] - terms[kind][1] * std::cos(angle) + terms[kind][2] * std::cos(2 * angle);
  }));
}

/// Triangles, evenly spaced in mel (2595 log10(1 + f / 700)): [dft_length / 2 + 1, num_mel_bins].
static void bindMelWeightMatrix(Node &n) {
  std::optional<Ints> bins = n.constantInts(0), length = n.constantInts(1), rate = n.constantInts(2);
  auto lower = n.constantFloats(3), upper = n.constantFloats(4);
  std::optional<DType> type = floatType(n);
  if (n.e.failed() || !type)
    return;
  if (bins->size() != 1 || length->size() != 1 || rate->size() != 1 || lower->size() != 1 || upper->size() != 1)
    return n.fail("takes scalars");
  int64_t count = bins->front(), rows = length->front() / 2 + 1;
  if (count < 1 || length->front() < 1 || length->front() > kMostElements || rate->front() < 1 ||
      count > kMostElements / rows || !(lower->front() >= 0) || !(upper->front() >= lower->front()) ||
      !(upper->front() < 1e9))
    return n.fail("has an impossible size, rate or edge");
  auto mel = [](double hertz) { return 2595 * std::log1p(hertz / 700) / std::log(10.0); };
  double low = mel(lower->front()), step = (mel(upper->front()) - low) / double(count + 2);
  Ints edges;
  for (int64_t i = 0; i < count + 2; ++i) {
    double hertz = 700 * std::expm1((double(i) * step + low) / 2595 * std::log(10.0));
    edges.push_back(int64_t(std::floor(double(length->front() + 1) * hertz / double(rate->front()))));
  }
  if (edges.back() > rows)
    return n.fail("has an upper edge above half of its rate");
  n.give(tabulated(n.e, {rows, count}, *type, [&](int64_t at) -> double {
    int64_t j = at / count, i = at % count, left = edges[i], middle = edges[i + 1], right = edges[i + 2];
    if (j >= middle && j < right)
      return double(right - j) / double(right - middle);
    if (left == middle)
      return j == middle;
    return j >= left && j <= middle ? double(j - left) / double(middle - left) : 0;
  }));
}

void addSignals(BinderTable &table) {
  table["BlackmanWindow"] = bindWindow<2>;
  table["DFT"] = bindDft;
  table["HammingWindow"] = bindWindow<1>;
  table["HannWindow"] = bindWindow<0>;
  table["MelWeightMatrix"] = bindMelWeightMatrix;
  table["STFT"] = bindStft;
}

} // namespace mlc::onnx
