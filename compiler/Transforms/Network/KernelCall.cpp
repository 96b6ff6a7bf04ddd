//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Which graph ops XNNPACK can do, and the calls.
//
#include "compiler/Transforms/Network/KernelMatch.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace mlc::graph {

Value callKernel(Structured &s, KernelMatch &match, ValueRange inputs, ArrayRef<int64_t> shape, Type element) {
  Value into = s.empty(Sizes(shape.begin(), shape.end()), element ? element : elementOf(inputs[0]));
  return s.b
      .create<CallKernelOp>(into.getType(), s.b.getStringAttr("xnnpack." + match.kernel), inputs, into,
                            s.b.getDictionaryAttr(match.fields))
      .getResult();
}

bool hasKernelShape(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.hasStaticShape() && tensor.getRank() > 0 &&
         llvm::all_of(tensor.getShape(), [](int64_t extent) { return 1 <= extent && extent <= kMostExtent; });
}

bool plain(Operation *op) {
  auto good = [](Type type) { return hasKernelShape(type) && getElementTypeOrSelf(type).isF32(); };
  return llvm::all_of(op->getOperandTypes(), good) && llvm::all_of(op->getResultTypes(), good);
}

bool becomesWeight(Value value) {
  llvm::SetVector<Value> seen;
  seen.insert(value);
  if (!followsFromWeights(value))
    return false;
  bool reads = false;
  for (size_t i = 0; i < seen.size(); ++i) {
    Operation *op = seen[i].getDefiningOp();
    // What decomposes to loops is left to the runs.
    if (!isMemoryEffectFree(op) || isa<LoopLikeOpInterface>(op) ||
        (isa<GraphDialect>(op->getDialect()) && !isa<ReadOp, DequantizeBlocksOp>(op)))
      return false;
    reads |= isa<ReadOp>(op);
    seen.insert(op->operand_begin(), op->operand_end());
    getUsedValuesDefinedAbove(op->getRegions(), seen);
  }
  // What is made of no weight may be larger than what is folded.
  constexpr int64_t kMostMade = 1 << 20;
  return reads || elements(shapeOf(value)) <= kMostMade;
}

int64_t sizeClass(int64_t value, Extents limits) {
  int64_t found = 0;
  for (int64_t limit : limits)
    if (value >= limit)
      found = limit;
  return found;
}

int64_t elements(Extents shape) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

bool isOneMatrix(Extents shape) {
  return llvm::all_of(shape.drop_back(2), [](int64_t extent) { return extent == 1; });
}

KernelMatch refuse(StringRef why) {
  KernelMatch match;
  match.refusal = why.str();
  return match;
}

std::string linearForm(int64_t rows, int64_t n, int64_t k) {
  return ("linear r" + Twine(sizeClass(rows, {1, 4, 32, 256})) + " w" +
          Twine(sizeClass(n * k, {1, 1 << 12, 1 << 16, 1 << 20})))
      .str();
}

namespace {

KernelMatch matchMatmul(MatmulOp op, unsigned year, bool folds) {
  Extents b = shapeOf(op.getB()), y = shapeOf(op.getResult());
  if (!plain(op))
    return refuse("XNNPACK's products are of f32");
  if (std::optional<KernelMatch> blocks = matchBlocks(op, year, folds))
    return *blocks;
  if (!folds || !isOneMatrix(b) || !becomesWeight(op.getB()) || followsFromWeights(op.getA()))
    return refuse("XNNPACK's products are with one matrix of weights");
  KernelMatch match;
  int64_t n = b.back(), k = b[b.size() - 2];
  match.kernel = "linear";
  match.form = linearForm(elements(y.drop_back()), n, k);
  Builder builder(op);
  match.fields = {field(builder, "n", n), field(builder, "k", k), field(builder, "has_bias", false),
                  field(builder, "transposed", true)};
  match.build = [op](Structured &s, KernelMatch &match) mutable {
    return callKernel(s, match, {op.getA(), op.getB()}, shapeOf(op.getResult()));
  };
  return match;
}

KernelMatch matchSoftmax(SoftmaxOp op) {
  Extents shape = shapeOf(op.getResult());
  if (!plain(op))
    return refuse("XNNPACK's softmax is of f32");
  if (op.getLog() || int64_t(op.getAxis()) != int64_t(shape.size()) - 1)
    return refuse("XNNPACK's softmax is along the last axis, and no logarithm");
  KernelMatch match;
  match.kernel = "softmax";
  // Attention: a block of scores is divided while it is in the cache.
  auto product = op->hasOneUse() ? dyn_cast<MatmulOp>(*op->user_begin()) : MatmulOp();
  match.inPassing = product && softmaxOf(product) == op;
  match.form = ("softmax c" + Twine(sizeClass(shape.back(), {1, 16, 128})) + " r" +
                Twine(sizeClass(elements(shape.drop_back()), {1, 16, 256})))
                   .str();
  match.fields = {field(Builder(op), "channels", shape.back())};
  match.build = [op](Structured &s, KernelMatch &match) mutable {
    return callKernel(s, match, op.getInput(), shapeOf(op.getResult()));
  };
  return match;
}

std::string elementwiseForm(StringRef kind, Extents shape) {
  return (kind + " e" + Twine(sizeClass(elements(shape), {1, 1 << 10, 1 << 15}))).str();
}

bool isSplat(Value value, double wanted) {
  DenseFPElementsAttr values;
  return matchPattern(value, m_Constant(&values)) && values.isSplat() &&
         values.getSplatValue<APFloat>().convertToDouble() == wanted;
}

/// x of 1 / (1 + e^-x), as ONNX's Sigmoid is imported.
Value sigmoidOf(arith::DivFOp op) {
  auto sum = op.getRhs().getDefiningOp<arith::AddFOp>();
  if (!sum || !isSplat(op.getLhs(), 1) || !isSplat(sum.getRhs(), 1))
    return {};
  auto power = sum.getLhs().getDefiningOp<math::ExpOp>();
  auto negated = power ? power.getOperand().getDefiningOp<arith::NegFOp>() : arith::NegFOp();
  return negated ? negated.getOperand() : Value();
}

KernelMatch unary(Operation *op, StringRef function, Value x) {
  KernelMatch match;
  match.kernel = "unary";
  match.inPassing = true;
  match.form = elementwiseForm(function, shapeOf(x));
  match.fields = {field(Builder(op), "op", function)};
  match.build = [x](Structured &s, KernelMatch &match) { return callKernel(s, match, x, shapeOf(x)); };
  return match;
}

std::optional<KernelMatch> binary(Operation *op, StringRef function) {
  Value a = op->getOperand(0), b = op->getOperand(1);
  // A constant is one number of a region's code.
  if (matchPattern(a, m_Constant()) || matchPattern(b, m_Constant()))
    return std::nullopt;
  KernelMatch match;
  match.kernel = "binary";
  match.inPassing = true;
  match.form = elementwiseForm(function, shapeOf(a));
  match.fields = {field(Builder(op), "op", function)};
  match.build = [a, b](Structured &s, KernelMatch &match) { return callKernel(s, match, {a, b}, shapeOf(a)); };
  return match;
}

std::optional<KernelMatch> matchElementwise(Operation *op) {
  if (op->getNumResults() != 1 || !plain(op) || op->getNumOperands() < 1 || followsFromWeights(op->getResult(0)))
    return std::nullopt;
  StringRef function = llvm::TypeSwitch<Operation *, StringRef>(op)
                           .Case([](math::AbsFOp) { return "abs"; })
                           .Case([](math::CeilOp) { return "ceil"; })
                           .Case([](math::FloorOp) { return "floor"; })
                           .Case([](arith::NegFOp) { return "negate"; })
                           .Case([](math::RoundEvenOp) { return "round_even"; })
                           .Case([](math::SqrtOp) { return "sqrt"; })
                           .Case([](math::TruncOp) { return "trunc"; })
                           .Default(StringRef());
  if (!function.empty())
    return unary(op, function, op->getOperand(0));
  if (auto quotient = dyn_cast<arith::DivFOp>(op))
    if (Value x = sigmoidOf(quotient))
      return unary(op, "sigmoid", x);
  if (isa<arith::MulFOp>(op) && op->getOperand(0) == op->getOperand(1))
    return unary(op, "square", op->getOperand(0));
  function = llvm::TypeSwitch<Operation *, StringRef>(op)
                 .Case([](arith::AddFOp) { return "add"; })
                 .Case([](arith::SubFOp) { return "sub"; })
                 .Case([](arith::MulFOp) { return "mul"; })
                 .Case([](arith::DivFOp) { return "div"; })
                 .Default(StringRef());
  return function.empty() ? std::nullopt : binary(op, function);
}

} // namespace

std::optional<KernelMatch> matchKernel(Operation *op, unsigned year, bool folds) {
  return llvm::TypeSwitch<Operation *, std::optional<KernelMatch>>(op)
      .Case([&](ConvOp conv) { return matchConv(conv, folds); })
      .Case([&](ConvTransposeOp conv) { return matchConvTranspose(conv, folds); })
      .Case([&](PoolOp pool) { return matchPool(pool); })
      .Case([&](ResizeOp resize) { return matchResize(resize); })
      .Case([&](arith::FPToSIOp rounded) { return matchQuantized(rounded, folds); })
      .Case([&](arith::SIToFPOp converted) { return matchDynamic(converted, year, folds); })
      .Case([&](MatmulOp product) { return matchMatmul(product, year, folds); })
      .Case([&](SoftmaxOp softmax) { return matchSoftmax(softmax); })
      .Default([&](Operation *other) { return matchElementwise(other); });
}

} // namespace mlc::graph
