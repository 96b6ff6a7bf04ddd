//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products, and what turns scores into probabilities.
//
#include "compiler/Import/ONNX/Binders/Shared.h"
#include "compiler/Import/ONNX/GraphImporter.h"

using namespace mlir;

namespace mlc::onnx {

//===--- Products ---===//

static void bindMatMul(Node &n) { n.give(n.e.matmul(n.in(0), n.in(1))); }

static void bindGemm(Node &n) {
  Emitter &e = n.e;
  Tensor a = n.in(0), b = n.in(1), c = n.optional(2);
  double alpha = n.floatAttr("alpha", 1), beta = n.floatAttr("beta", 1);
  bool transA = n.intAttr("transA", 0), transB = n.intAttr("transB", 0);
  bool spread = n.version >= 7 || n.intAttr("broadcast", 0);
  if (!a || !b)
    return;
  if (a.rank() != 2 || b.rank() != 2)
    return n.fail("takes matrices");
  if (!a.isFloat() && (alpha != 1 || beta != 1))
    return n.fail("scales integers");
  Tensor y = e.matmul(transA ? e.transpose(a, {1, 0}) : a, transB ? e.transpose(b, {1, 0}) : b);
  if (alpha != 1)
    y = e.mul(y, alpha);
  if (c && y) {
    if (!spread && c.shape != y.shape)
      return n.fail("adds a tensor of another shape with broadcast 0");
    Dims shape = y.shape;
    y = e.add(y, beta == 1 ? c : e.mul(c, beta));
    if (y && y.shape != shape)
      return n.fail("adds a tensor that is larger than the product");
  }
  n.give(y);
}

/// Integers less their zero point, as i32.
static Tensor centered(Node &n, const Tensor &x, const Tensor &zero, int64_t axis) {
  Emitter &e = n.e;
  if (!x)
    return {};
  if (!x.dtype().isInteger() || x.dtype().type.getIntOrFloatBitWidth() != 8)
    return e.fail("takes 8-bit integers");
  DType i32{e.builder.getI32Type()};
  Tensor wide = e.cast(x, i32);
  if (!zero || !wide)
    return wide;
  if (zero.dtype() != x.dtype())
    return e.fail("has a zero point of another type");
  Tensor offset = e.cast(zero, i32);
  if (offset.rank() == 1 && e.constant(offset.shape[0]) != 1) {
    // One for each row or channel.
    Dims shape(size_t(x.rank()), e.dim(1));
    if (axis < 0 || axis >= x.rank())
      return e.fail("has a zero point that does not fit");
    shape[axis] = offset.shape[0];
    offset = e.reshape(offset, shape);
  } else if (offset.rank() == 1) {
    offset = e.reshape(offset, {});
  }
  return e.sub(wide, offset);
}
static void bindMatMulInteger(Node &n) {
  Tensor a = n.in(0), b = n.in(1);
  if (!a || !b)
    return;
  n.give(n.e.matmul(centered(n, a, n.optional(2), a.rank() - 2), centered(n, b, n.optional(3), b.rank() - 1)));
}
static void bindConvInteger(Node &n) {
  n.give(convolution(n, centered(n, n.in(0), n.optional(2), -1), centered(n, n.in(1), n.optional(3), 0), {}));
}

//===--- Softmax ---===//

/// Before opset 13 everything from `axis` on is one axis.
template <typename F> static void alongAxis(Node &n, F &&function) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  if (!x.isFloat())
    return n.fail("takes floats");
  bool flat = n.version < 13;
  int64_t axis = n.axis(n.intAttr("axis", flat ? 1 : -1), x.rank());
  if (e.failed())
    return;
  if (!flat)
    return n.give(function(x, axis));
  ArrayRef<Dim> shape = x.shape;
  Tensor matrix = e.reshape(x, {e.product(shape.take_front(axis)), e.product(shape.drop_front(axis))});
  n.give(e.reshape(function(matrix, 1), shape));
}
static void bindSoftmax(Node &n) {
  alongAxis(n, [&](const Tensor &x, int64_t axis) { return n.e.softmax(x, axis); });
}
static void bindLogSoftmax(Node &n) {
  alongAxis(n, [&](const Tensor &x, int64_t axis) { return n.e.softmax(x, axis, true); });
}

static void bindHardmax(Node &n) {
  alongAxis(n, [&](const Tensor &x, int64_t axis) {
    Emitter &e = n.e;
    Dims along(size_t(x.rank()), e.dim(1));
    along[axis] = x.shape[axis];
    Tensor first = e.unsqueeze(e.argExtreme(x, axis, true, false), axis);
    Tensor chosen = e.compare(Compare::eq, first, e.reshape(e.iota(x.shape[axis], e.i64()), along));
    return e.select(chosen, e.splat(1, x.dtype()), e.splat(0, x.dtype()));
  });
}

void addLayers(BinderTable &table) {
  table["ConvInteger"] = bindConvInteger;
  table["Gemm"] = bindGemm;
  table["Hardmax"] = bindHardmax;
  table["LogSoftmax"] = bindLogSoftmax;
  table["MatMul"] = bindMatMul;
  table["MatMulInteger"] = bindMatMulInteger;
  table["Softmax"] = bindSoftmax;
}

} // namespace mlc::onnx
