//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Quantized forms.
//
#include "compiler/Import/ONNX/Binders/Shared.h"
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace mlc::onnx {

/// A scale or zero point: a scalar, one for each place of `axis` of x, or one for each `block` of them.
static Tensor along(Node &n, const Tensor &values, const Tensor &x, int64_t axis, int64_t block = 0) {
  Emitter &e = n.e;
  if (!values || !x)
    return {};
  if (block) {
    std::optional<int64_t> extent = axis < 0 || axis >= x.rank() ? std::nullopt : e.constant(x.shape[axis]);
    if (!extent || block < 0)
      return e.fail("is quantized by blocks of an axis that has no fixed extent");
    Dims expected = x.shape;
    expected[axis] = e.dim((*extent + block - 1) / block);
    if (values.shape != expected)
      return e.fail("has a scale or zero point that does not fit its blocks");
    return e.generate(x.shape, values.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
      SmallVector<Value> from(at);
      from[axis] = body.create<arith::DivSIOp>(e.loc, at[axis], e.constantIndex(body, block));
      return e.at(body, values, from);
    });
  }
  if (values.rank() == 0 || (values.rank() == 1 && e.constant(values.shape[0]) == 1))
    return e.reshape(values, {});
  if (values.rank() != 1 || axis < 0 || axis >= x.rank())
    return e.fail("has a scale or zero point that fits no axis");
  Dims shape(size_t(x.rank()), e.dim(1));
  shape[axis] = values.shape[0];
  return e.reshape(values, shape);
}

Tensor saturate(Emitter &e, const Tensor &x, const Tensor &zero, DType type) {
  unsigned bits = type.type.getIntOrFloatBitWidth();
  if (!type.isInteger() || bits > 16)
    return e.fail("rounds to a type other than 8- and 16-bit integers, which is not supported");
  double low = type.isUnsigned ? 0 : -std::ldexp(1.0, int(bits) - 1);
  double high = std::ldexp(1.0, int(bits) - !type.isUnsigned) - 1;
  Tensor rounded = e.unary<math::RoundEvenOp>(x);
  if (zero)
    rounded = e.add(rounded, e.cast(zero, e.f32()));
  if (!rounded)
    return {};
  rounded = e.min(e.max(rounded, e.splat(low, e.f32())), e.splat(high, e.f32()));
  return e.cast(rounded, type);
}

static void bindQuantizeLinear(Node &n) {
  Emitter &e = n.e;
  n.ignore("saturate");
  Tensor x = n.in(0), scale = n.in(1), zero = n.optional(2);
  if (!x || !scale)
    return;
  int64_t block = n.intAttr("block_size", 0);
  DType type = zero ? zero.dtype() : DType{e.builder.getI8Type(), true};
  if (int64_t given = n.intAttr("output_dtype", 0)) {
    std::optional<DType> wanted = n.importer.dtype(int32_t(given));
    if (!wanted)
      return;
    if (zero && !(*wanted == type))
      return n.fail("has a zero point of another type than output_dtype");
    type = *wanted;
  }
  if (n.intAttr("precision", 0) > 1)
    return n.fail("divides in a type of its own (precision), which is not supported");
  int64_t axis = n.intAttr("axis", 1);
  axis = axis < 0 ? axis + x.rank() : axis;
  Tensor ratio = e.div(e.cast(x, e.f32()), e.cast(along(n, scale, x, axis, block), e.f32()));
  n.give(saturate(e, ratio, along(n, zero, x, axis, block), type));
}

static Tensor dequantized(Node &n, const Tensor &x, const Tensor &scale, const Tensor &zero, int64_t axis,
                          int64_t block) {
  Emitter &e = n.e;
  if (!x || !scale)
    return {};
  if (!x.dtype().isInteger() || !scale.isFloat())
    return e.fail("takes integers and a scale of floats");
  if (zero && zero.dtype() != x.dtype())
    return e.fail("has a zero point of another type");
  axis = axis < 0 ? axis + x.rank() : axis;
  DType wide{x.dtype().type.getIntOrFloatBitWidth() < 32 ? e.builder.getI32Type() : e.builder.getI64Type()};
  Tensor value = e.cast(x, wide);
  if (zero)
    value = e.sub(value, e.cast(along(n, zero, x, axis, block), wide));
  return e.mul(e.cast(value, e.f32()), e.cast(along(n, scale, x, axis, block), e.f32()));
}
static void bindDequantizeLinear(Node &n) {
  Tensor scale = n.in(1);
  Tensor y = dequantized(n, n.in(0), scale, n.optional(2), n.intAttr("axis", 1), n.intAttr("block_size", 0));
  if (!y)
    return;
  DType type = scale.dtype();
  if (int64_t given = n.intAttr("output_dtype", 0)) {
    std::optional<DType> wanted = n.importer.dtype(int32_t(given));
    if (!wanted)
      return;
    type = *wanted;
  }
  n.give(n.e.cast(y, type));
}

static void bindDynamicQuantizeLinear(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  if (!(x.dtype() == e.f32()))
    return n.fail("takes f32");
  Ints axes = llvm::to_vector<4>(llvm::seq<int64_t>(0, x.rank()));
  DType type{e.builder.getI8Type(), true};
  Tensor none = e.splat(0, e.f32());
  Tensor low = e.min(e.reduce(Fold::min, x, axes, false), none),
         high = e.max(e.reduce(Fold::max, x, axes, false), none);
  Tensor scale = e.div(e.sub(high, low), 255);
  Tensor zero = saturate(e, e.negate(e.div(low, scale)), {}, type);
  n.give({saturate(e, e.div(x, scale), zero, type), scale, zero});
}

/// x less its zero point, as i32.
static Tensor lessZero(Node &n, const Tensor &x, const Tensor &zero, int64_t axis) {
  DType i32{n.e.builder.getI32Type()};
  if (x && zero && (!x.dtype().isInteger() || zero.dtype() != x.dtype()))
    return n.e.fail("takes integers and zero points of their type");
  return n.e.sub(n.e.cast(x, i32), n.e.cast(along(n, zero, x, axis), i32));
}

/// (a, scale, zero, b, scale, zero, scale of y, zero of y): through f32, rounded once.
static void bindQLinearMatMul(Node &n) {
  Emitter &e = n.e;
  Tensor a = n.in(0), b = n.in(3), zeroY = n.in(7);
  if (!a || !b || !zeroY)
    return;
  // Rows of a, columns of b.
  Tensor sum = e.matmul(lessZero(n, a, n.in(2), a.rank() - 2), lessZero(n, b, n.in(5), b.rank() - 1));
  if (!sum)
    return;
  int64_t row = sum.rank() - 2, column = sum.rank() - 1;
  Tensor scale = e.mul(e.cast(along(n, n.in(1), sum, row), e.f32()), e.cast(along(n, n.in(4), sum, column), e.f32()));
  scale = e.div(scale, e.cast(along(n, n.in(6), sum, row), e.f32()));
  n.give(saturate(e, e.mul(e.cast(sum, e.f32()), scale), along(n, zeroY, sum, row), zeroY.dtype()));
}

/// (x, scale, zero, w, scale, zero, scale of y, zero of y, bias of i32), the filter's by output channels.
static void bindQLinearConv(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), w = n.in(3), zeroY = n.in(7), bias = n.optional(8);
  if (!x || !w || !zeroY)
    return;
  if (bias && bias.dtype() != DType{e.builder.getI32Type()})
    return n.fail("takes a bias of int32");
  Tensor sum = convolution(n, lessZero(n, x, n.in(2), -1), lessZero(n, w, n.in(5), 0), bias);
  if (!sum)
    return;
  Tensor scale = e.mul(e.cast(along(n, n.in(1), sum, -1), e.f32()), e.cast(along(n, n.in(4), sum, 1), e.f32()));
  scale = e.div(scale, e.cast(along(n, n.in(6), sum, -1), e.f32()));
  n.give(saturate(e, e.mul(e.cast(sum, e.f32()), scale), along(n, zeroY, sum, -1), zeroY.dtype()));
}

void addQuantization(BinderTable &table) {
  table["DequantizeLinear"] = bindDequantizeLinear;
  table["DynamicQuantizeLinear"] = bindDynamicQuantizeLinear;
  table["QLinearConv"] = bindQLinearConv;
  table["QLinearMatMul"] = bindQLinearMatMul;
  table["QuantizeLinear"] = bindQuantizeLinear;
}

} // namespace mlc::onnx
