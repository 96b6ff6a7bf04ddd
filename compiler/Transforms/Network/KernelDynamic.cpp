//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products for which XNNPACK has operators since 2024: of rows that are quantized on the way.
//
// linear_qd8: ONNX's MatMulInteger of rows whose zero point a run finds (DynamicQuantizeLinear), as the importer writes
// it, and cast to f32; the kernel's scales are left at 1, so that its results are the sums. linear_qb4: MatMulNBits of
// 4 bits, where its accuracy_level lets a product round.
//
#include "compiler/Transforms/Network/KernelMatch.h"
#include "compiler/Transforms/Network/ShiftedBytes.h"

using namespace mlir;

namespace mlc::graph {

/// The one element that `value` repeats; null: there are more.
static Value oneOf(Value value) {
  while (value && elements(shapeOf(value)) != 1)
    value = repeated(value);
  return value;
}

/// `matrix`, as it was before axes of 1 were added or taken.
static Value reshapedFrom(Value matrix) {
  while (isa_and_nonnull<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(matrix.getDefiningOp()))
    matrix = repeated(matrix);
  return matrix;
}

std::optional<KernelMatch> matchBlocks(MatmulOp op, unsigned year, bool folds) {
  auto blocks = reshapedFrom(op.getB()).getDefiningOp<DequantizeBlocksOp>();
  Extents y = shapeOf(op.getResult());
  if (year < 2024 || !folds || !blocks || !blocks.getRounds() || !isOneMatrix(shapeOf(op.getB())) ||
      shapeOf(blocks.getResult())[1] != y.back() || !becomesWeight(blocks.getCodes()) ||
      !becomesWeight(blocks.getScales()) || followsFromWeights(op.getA()))
    return std::nullopt;
  KernelMatch match;
  int64_t k = shapeOf(blocks.getResult())[0], n = y.back();
  match.kernel = "linear_qb4";
  match.form = "qb4 " + linearForm(elements(y.drop_back()), n, k);
  Builder b(op);
  match.fields = {field(b, "n", n), field(b, "k", k), field(b, "block", int64_t(blocks.getBlock()))};
  match.build = [op, blocks](Structured &s, KernelMatch &match) mutable {
    return callKernel(s, match, {op.getA(), blocks.getCodes(), blocks.getScales()}, shapeOf(op.getResult()));
  };
  return match;
}

std::optional<KernelMatch> matchDynamic(arith::SIToFPOp converted, unsigned year, bool folds) {
  auto product = converted.getIn().getDefiningOp<MatmulOp>();
  if (!product || !getElementTypeOrSelf(converted.getIn()).isInteger(32) ||
      !getElementTypeOrSelf(converted.getType()).isF32() || !hasKernelShape(converted.getType()) ||
      !hasKernelShape(product.getA().getType()) || !hasKernelShape(product.getB().getType()))
    return std::nullopt;
  std::optional<ShiftedBytes> x = ShiftedBytes::of(product.getA()), w = ShiftedBytes::of(reshapedFrom(product.getB()));
  if (!x || !w)
    return std::nullopt;
  if (year < 2024)
    return refuse("XNNPACK's products of i8 that give f32 need one of 2024 (--xnnpack 2024)");
  Extents right = shapeOf(product.getB());
  if (!isOneMatrix(right) || !folds || !becomesWeight(w->wide) || followsFromWeights(x->wide))
    return refuse("XNNPACK's products are with one matrix of weights");
  if (w->knownZero() != (w->isUnsigned ? 128 : 0))
    return refuse("XNNPACK's matrices of i8 have a zero point of 0");
  Value zero = x->zero ? oneOf(x->zero) : Value();
  if (x->zero && !zero)
    return refuse("XNNPACK's rows of i8 have one zero point");
  KernelMatch match;
  int64_t n = right.back(), k = right[right.size() - 2];
  match.kernel = "linear_qd8";
  match.form = "qd8 " + linearForm(elements(shapeOf(converted).drop_back()), n, k);
  Builder b(converted);
  match.fields = {field(b, "n", n), field(b, "k", k), field(b, "has_bias", false), field(b, "transposed", true)};
  match.build = [x = *x, w = *w, zero, n, k, converted](Structured &s, KernelMatch &match) mutable {
    auto one = RankedTensorType::get({1}, s.b.getI32Type());
    auto constant = [&](int32_t value) -> Value {
      return s.b.create<arith::ConstantOp>(DenseElementsAttr::get(one, value));
    };
    Value point = zero ? s.reshape(zero, {1}) : constant(0);
    if (x.isUnsigned)
      point = s.b.create<arith::SubIOp>(point, constant(128));
    return callKernel(s, match, {x.centered(s), s.reshape(w.centered(s), {k, n}), point}, shapeOf(converted),
                      s.b.getF32Type());
  };
  return match;
}

} // namespace mlc::graph
