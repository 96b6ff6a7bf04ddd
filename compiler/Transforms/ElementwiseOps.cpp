//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/ElementwiseOps.h"

#include "compiler/Dialect/Graph/IR/Graph.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

#include <numbers>

using namespace mlir;
using namespace mlc;
using namespace mlc::graph;

/// A matrix or a vector with static columns.
static bool isRows(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && (tensor.getRank() == 1 || tensor.getRank() == 2) &&
         !tensor.isDynamicDim(unsigned(tensor.getRank() - 1)) && tensor.getElementType().isIntOrFloat();
}

/// A generic that is elementwise as it stands.
static bool isElementwiseGeneric(linalg::GenericOp op) {
  if (!op.hasPureTensorSemantics() || op.getNumParallelLoops() != op.getNumLoops() ||
      !llvm::all_of(op.getIndexingMapsArray(), [](AffineMap map) { return map.isIdentity(); }))
    return false;
  for (BlockArgument init : op.getRegionOutputArgs())
    if (!init.use_empty())
      return false;
  return llvm::all_of(op.getBlock()->without_terminator(), [&](Operation &inner) {
    bool local = llvm::all_of(inner.getOperands(), [&](Value operand) {
      return operand.getParentBlock() == op.getBlock() || splatOf(operand);
    });
    return local && !inner.getNumRegions() && isa<arith::ArithDialect, math::MathDialect>(inner.getDialect());
  });
}

bool mlc::graph::isElementwise(Operation *op) {
  auto rows = [](ValueRange values, ArrayRef<int64_t> shape) {
    return llvm::all_of(values, [&](Value value) {
      return isRows(value.getType()) && cast<ShapedType>(value.getType()).getShape() == shape;
    });
  };
  if (!op->getNumResults() || !isRows(op->getResult(0).getType()))
    return false;
  ArrayRef<int64_t> shape = cast<ShapedType>(op->getResult(0).getType()).getShape();
  if (!rows(op->getResults(), shape) || !rows(op->getOperands(), shape) || !op->getNumOperands())
    return false;
  if (auto generic = dyn_cast<linalg::GenericOp>(op))
    return isElementwiseGeneric(generic);
  if (isa<ActivationOp, GatedActivationOp, SoftcapOp, ScaleOp>(op))
    return true;
  return isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) && OpTrait::hasElementwiseMappableTraits(op);
}

bool mlc::graph::needsCode(Operation *op) {
  return !isa<ActivationOp, GatedActivationOp, SoftcapOp, ScaleOp, arith::AddFOp, arith::SubFOp, arith::MulFOp,
              arith::DivFOp, arith::MaximumFOp, arith::MinimumFOp>(op) ||
         // Kernels take matrices; what is made by linalg.fill or tensor.splat has no buffer.
         llvm::any_of(op->getOperands(), [](Value operand) { return splatOf(operand).has_value(); });
}

SmallVector<Value> mlc::graph::elementwiseOperands(Operation *op) {
  if (auto generic = dyn_cast<linalg::GenericOp>(op))
    return generic.getDpsInputs();
  return op->getOperands();
}

std::optional<TypedAttr> mlc::graph::splatOf(Value value) {
  Attribute constant;
  if (auto fill = value.getDefiningOp<linalg::FillOp>())
    return splatOf(fill.value());
  if (auto splat = value.getDefiningOp<tensor::SplatOp>())
    return splatOf(splat.getInput());
  if (!matchPattern(value, m_Constant(&constant)))
    return std::nullopt;
  if (auto dense = dyn_cast<DenseElementsAttr>(constant))
    return dense.isSplat() ? std::optional(dense.getSplatValue<TypedAttr>()) : std::nullopt;
  auto scalar = dyn_cast<TypedAttr>(constant);
  return scalar && scalar.getType().isIntOrFloat() ? std::optional(scalar) : std::nullopt;
}

namespace {
/// Activations on scalars.
struct Scalar {
  Scalar(Location location, OpBuilder &builder) : b(location, builder) {}
  Value real(float value) { return b.create<arith::ConstantOp>(b.getF32FloatAttr(value)); }
  Value add(Value x, Value y) { return b.create<arith::AddFOp>(x, y); }
  Value mul(Value x, Value y) { return b.create<arith::MulFOp>(x, y); }
  Value tanh(Value x) { return b.create<math::TanhOp>(x); }
  Value sigmoid(Value x) {
    Value e = b.create<math::ExpOp>(b.create<arith::NegFOp>(x));
    return b.create<arith::DivFOp>(real(1), add(real(1), e));
  }
  Value relu(Value x) { return b.create<arith::MaximumFOp>(x, real(0)); }
  /// x / 2 * (1 + inner)
  Value gelu(Value x, Value inner) { return mul(mul(x, real(0.5f)), add(real(1), inner)); }

  Value activation(Activation function, Value x) {
    switch (function) {
    case Activation::silu:
      return mul(x, sigmoid(x));
    case Activation::gelu_tanh: {
      Value cubic = mul(mul(x, real(0.044715f)), mul(x, x));
      return gelu(x, tanh(mul(real(0.797884561f), add(x, cubic))));
    }
    case Activation::gelu_erf:
      return gelu(x, b.create<math::ErfOp>(mul(x, real(1 / std::numbers::sqrt2_v<float>))));
    case Activation::relu:
      return relu(x);
    case Activation::relu2:
      return mul(relu(x), relu(x));
    case Activation::tanh:
      return tanh(x);
    case Activation::sigmoid:
      return sigmoid(x);
    }
    llvm_unreachable("every activation has a scalar form");
  }

  ImplicitLocOpBuilder b;
};
} // namespace

void mlc::graph::cloneScalar(OpBuilder &builder, Operation *op, IRMapping &scalars) {
  auto element = [&](Value value) -> Value {
    if (Value mapped = scalars.lookupOrNull(value))
      return mapped;
    Value constant = builder.create<arith::ConstantOp>(op->getLoc(), *splatOf(value));
    scalars.map(value, constant);
    return constant;
  };
  Scalar scalar(op->getLoc(), builder);
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](ActivationOp op) {
        scalars.map(op.getResult(), scalar.activation(op.getFunction(), element(op.getInput())));
      })
      .Case([&](GatedActivationOp op) {
        Value gate = scalar.activation(op.getFunction(), element(op.getGate()));
        scalars.map(op.getResult(), scalar.mul(gate, element(op.getUp())));
      })
      .Case([&](SoftcapOp op) {
        float cap = op.getCap().convertToFloat();
        Value inner = scalar.tanh(scalar.mul(element(op.getInput()), scalar.real(1 / cap)));
        scalars.map(op.getResult(), scalar.mul(inner, scalar.real(cap)));
      })
      .Case([&](ScaleOp op) {
        Value factor = scalar.real(op.getFactor().convertToFloat());
        scalars.map(op.getResult(), scalar.mul(element(op.getInput()), factor));
      })
      .Case([&](linalg::GenericOp op) {
        IRMapping inner;
        for (auto [argument, input] : llvm::zip(op.getRegionInputArgs(), op.getDpsInputs()))
          inner.map(argument, element(input));
        for (Operation &member : op.getBlock()->without_terminator()) {
          for (Value operand : member.getOperands())
            if (!inner.contains(operand) && operand.getParentBlock() != op.getBlock())
              inner.map(operand, element(operand));
          builder.clone(member, inner);
        }
        for (auto [result, value] : llvm::zip(op.getResults(), op.getBlock()->getTerminator()->getOperands()))
          scalars.map(result, inner.contains(value) ? inner.lookup(value) : element(value));
      })
      .Default([&](Operation *op) {
        SmallVector<Value> operands;
        for (Value operand : op->getOperands())
          operands.push_back(element(operand));
        SmallVector<Type> types;
        for (Type type : op->getResultTypes())
          types.push_back(cast<ShapedType>(type).getElementType());
        Operation *clone = builder.create(op->getLoc(), op->getName().getIdentifier(), operands, types, op->getAttrs());
        clone->removeAttr(kTapAttr);
        clone->removeAttr(kInnerTapsAttr);
        scalars.map(op->getResults(), clone->getResults());
      });
}
