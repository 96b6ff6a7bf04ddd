//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ONNX's QLinearConv and QLinearMatMul of i8, as the importer writes them, as XNNPACK's quantized convolution:
//   fptosi(min(max(roundeven(sitofp(product) * scale) + zero, -128), 127)), product: conv or matmul of i32, of
//   extsi(x) - zero and extsi(weights).
//
#include "compiler/Transforms/Network/KernelMatch.h"
#include "compiler/Transforms/Network/ShiftedBytes.h"

#include "mlir/IR/Matchers.h"

#include <cmath>

using namespace mlir;

namespace mlc::graph {
namespace {

/// `value` as Op, and its operand that is not a number; null: it is none, or has no number of `wanted`.
template <typename Op> Value beside(Value value, std::optional<double> wanted) {
  auto op = value.getDefiningOp<Op>();
  return op && numberOf(op.getRhs()) == wanted ? op.getLhs() : Value();
}

/// The parts of a rounded product.
struct Quantized {
  Operation *product = nullptr; // conv or matmul.
  ShiftedBytes x, weights;
  Value bias;                  // i32, one of each output, or null.
  std::optional<double> scale; // Or, one for each output:
  Value scales;
  double zero = 0;

  static std::optional<Quantized> of(arith::FPToSIOp rounded) {
    if (!getElementTypeOrSelf(rounded.getType()).isInteger(8))
      return std::nullopt;
    Value y = beside<arith::MinimumFOp>(rounded.getIn(), 127);
    y = y ? beside<arith::MaximumFOp>(y, -128) : Value();
    Quantized found;
    if (auto sum = y ? y.getDefiningOp<arith::AddFOp>() : arith::AddFOp()) {
      std::optional<double> zero = numberOf(sum.getRhs());
      if (!zero)
        return std::nullopt;
      found.zero = *zero;
      y = sum.getLhs();
    }
    auto whole = y ? y.getDefiningOp<math::RoundEvenOp>() : math::RoundEvenOp();
    auto scaled = whole ? whole.getOperand().getDefiningOp<arith::MulFOp>() : arith::MulFOp();
    auto product = scaled ? scaled.getLhs().getDefiningOp<arith::SIToFPOp>() : arith::SIToFPOp();
    if (!product || !getElementTypeOrSelf(product.getType()).isF32() || !found.takeProduct(product.getIn()))
      return std::nullopt;
    found.scale = numberOf(scaled.getRhs());
    found.scales = scaled.getRhs();
    return found;
  }

  int64_t outputs() const {
    return isa<ConvOp>(product) ? shapeOf(product->getOperand(1))[0] : shapeOf(product->getResult(0)).back();
  }

private:
  bool takeProduct(Value value) {
    product = value.getDefiningOp();
    if (!isa_and_nonnull<ConvOp, MatmulOp>(product) || !getElementTypeOrSelf(value).isInteger(32))
      return false;
    std::optional<ShiftedBytes> left = ShiftedBytes::of(product->getOperand(0)),
                                right = ShiftedBytes::of(product->getOperand(1));
    if (!left || !right || left->isUnsigned || right->isUnsigned || !left->knownZero() || !right->knownZero())
      return false;
    x = *left, weights = *right;
    if (auto conv = dyn_cast<ConvOp>(product))
      bias = conv.getBias();
    return true;
  }
};

/// What `value`, of the result's shape, repeats along all axes but `axis`: one number for each output. Null: it does
/// not.
Value perOutput(Value value, int64_t outputs, unsigned axis) {
  while (elements(shapeOf(value)) != outputs) {
    auto generic = value.getDefiningOp<linalg::GenericOp>();
    Value from = repeated(value);
    if (!generic || !from)
      return {};
    AffineMap map = generic.getIndexingMapsArray()[0];
    if (shapeOf(from).size() == 1 && map.getResult(0) == getAffineDimExpr(axis, map.getContext()))
      return shapeOf(from)[0] == outputs ? from : Value();
    if (shapeOf(from).size() != shapeOf(value).size())
      return {};
    value = from;
  }
  return shapeOf(value)[axis] == outputs ? value : Value();
}

} // namespace

std::optional<KernelMatch> matchQuantized(arith::FPToSIOp rounded, bool folds) {
  std::optional<Quantized> q = Quantized::of(rounded);
  if (!q)
    return std::nullopt;
  auto isByte = [](double value) { return value >= -128 && value <= 127; };
  for (Type type : {q->x.wide.getType(), q->weights.wide.getType(), rounded.getType()})
    if (!hasKernelShape(type))
      return refuse("XNNPACK's quantized products have known shapes");
  if (!folds || !becomesWeight(q->weights.wide) || (q->bias && !becomesWeight(q->bias)) ||
      followsFromWeights(q->x.wide))
    return refuse("XNNPACK's filters are weights");
  if (*q->weights.knownZero() != 0 || !isByte(*q->x.knownZero()) || !isByte(q->zero))
    return refuse("XNNPACK's quantized filters have a zero point of 0");
  auto conv = dyn_cast<ConvOp>(q->product);
  if (!q->scale) {
    q->scales = perOutput(q->scales, q->outputs(), conv ? 1 : shapeOf(q->product->getResult(0)).size() - 1);
    if (!q->scales || !becomesWeight(q->scales))
      return refuse("XNNPACK's scales are one number, or one for each output");
  } else if (!(*q->scale < 256) || !std::isnormal(float(*q->scale)) || *q->scale < 0) {
    return refuse("XNNPACK's scales of sums lie below 256");
  }
  Builder b(rounded);
  ConvWindow window;
  if (conv) {
    std::optional<ConvWindow> found = convWindow(conv, "qs8 ");
    if (!found)
      return refuse("XNNPACK's convolutions have one or two axes and no negative pads");
    window = *found;
  } else {
    Extents right = shapeOf(q->weights.wide);
    if (!isOneMatrix(right))
      return refuse("XNNPACK's products are with one matrix of weights");
    int64_t rows = elements(shapeOf(rounded).drop_back());
    if (rows > kMostExtent)
      return refuse("XNNPACK's products have fewer rows");
    window = productWindow(b, rows, right[right.size() - 2], right.back(), "qs8 ");
    window.shape.assign(shapeOf(rounded).begin(), shapeOf(rounded).end());
  }
  KernelMatch match;
  match.kernel = "conv_qs8";
  match.form = window.form;
  match.fields = window.fields;
  match.fields.append({field(b, "zero_in", int64_t(*q->x.knownZero())), field(b, "zero_out", int64_t(q->zero)),
                       field(b, "has_scales", !q->scale),
                       b.getNamedAttr("scale", b.getF32FloatAttr(float(q->scale.value_or(0))))});
  match.build = [q = *q, conv, shape = window.shape](Structured &s, KernelMatch &match) mutable {
    Value x = q.x.get(s), weights = q.weights.get(s);
    int64_t outputs = q.outputs();
    if (conv) {
      x = s.channelsLast(x);
      weights = s.channelsLast(weights);
    } else {
      Extents right = shapeOf(weights);
      weights = s.transpose(s.reshape(weights, {right[right.size() - 2], outputs}), {1, 0});
    }
    SmallVector<Value> operands{x, weights};
    if (q.bias)
      operands.push_back(q.bias);
    if (!q.scale)
      operands.push_back(s.reshape(q.scales, {outputs}));
    Value y = callKernel(s, match, operands, shape);
    return conv ? s.channelsFirst(y) : y;
  };
  return match;
}

} // namespace mlc::graph
