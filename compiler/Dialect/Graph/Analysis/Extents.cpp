//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Graph/Analysis/Extents.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlc::graph;

Value mlc::graph::unquantized(Value value) {
  while (value && isa<QuantizedType>(value.getType())) {
    if (auto quantize = value.getDefiningOp<QuantizeRowsOp>())
      return quantize.getInput();
    auto linear = value.getDefiningOp<LinearOp>();
    value = linear ? linear.getInput() : Value();
  }
  return value;
}

FailureOr<ArrayRef<Attribute>> ExtentAnalysis::dims(Value value) {
  auto found = known.find(value);
  if (found != known.end())
    return ArrayRef<Attribute>(found->second);
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<Attribute> axes;
  for (auto [axis, size] : llvm::enumerate(type.getShape())) {
    Attribute dim =
        ShapedType::isDynamic(size) ? dynamicDim(value, axis) : Builder(value.getContext()).getI64IntegerAttr(size);
    if (!dim) {
      mlir::emitError(value.getLoc()) << "axis " << axis << " of a " << type << " follows no extent";
      return failure();
    }
    axes.push_back(dim);
  }
  return ArrayRef<Attribute>(known[value] = std::move(axes));
}

/// The extent that axis `axis` of `value` follows, found at the operand whose axis it is; null when none is known.
Attribute ExtentAnalysis::dynamicDim(Value value, unsigned axis) {
  auto follow = [&](Value operand, unsigned operandAxis) -> Attribute {
    FailureOr<ArrayRef<Attribute>> axes = dims(operand);
    return succeeded(axes) && operandAxis < axes->size() ? (*axes)[operandAxis] : Attribute();
  };
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    Operation *parent = argument.getOwner()->getParentOp();
    if (auto function = dyn_cast<func::FuncOp>(parent)) {
      auto names = function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), kDimsAttr);
      return names ? names[axis] : Attribute();
    }
    if (auto loop = dyn_cast<scf::ForOp>(parent))
      return follow(loop.getTiedLoopInit(argument)->get(), axis);
    return {};
  }
  Operation *op = value.getDefiningOp();
  return llvm::TypeSwitch<Operation *, Attribute>(op)
      .Case<RopeAnglesOp>([&](auto) { return StringAttr::get(value.getContext(), kTokensExtent); })
      .Case<EmbeddingOp>([&](EmbeddingOp embedding) { return follow(embedding.getIds(), axis); })
      .Case<GatherRowsOp>([&](GatherRowsOp gather) { return follow(gather.getRows(), axis); })
      .Case<LinearOp>([&](LinearOp linear) -> Attribute {
        Value input = unquantized(linear.getInput());
        return input ? follow(input, axis) : Attribute();
      })
      .Case<scf::IfOp>([&](scf::IfOp branch) {
        return follow(branch.thenYield().getOperand(cast<OpResult>(value).getResultNumber()), axis);
      })
      .Case<scf::ForOp>(
          [&](scf::ForOp loop) { return follow(loop.getInitArgs()[cast<OpResult>(value).getResultNumber()], axis); })
      .Case<tensor::EmptyOp>([&](tensor::EmptyOp empty) -> Attribute {
        auto size = empty.getDynamicSize(axis).getDefiningOp<tensor::DimOp>();
        std::optional<int64_t> index = size ? size.getConstantIndex() : std::nullopt;
        return index ? follow(size.getSource(), *index) : Attribute();
      })
      .Case<linalg::LinalgOp>(
          [&](linalg::LinalgOp op) { return follow(op.getDpsInits()[cast<OpResult>(value).getResultNumber()], axis); })
      .Default([&](Operation *op) -> Attribute {
        // Elementwise ops, norms, rope, attention, split: the first operand of the same rank.
        bool keepsAxis = isa_and_nonnull<GraphDialect>(op->getDialect()) || OpTrait::hasElementwiseMappableTraits(op);
        for (Value operand : op->getOperands()) {
          auto type = dyn_cast<RankedTensorType>(operand.getType());
          if (keepsAxis && type && type.getRank() == cast<RankedTensorType>(value.getType()).getRank() &&
              type.isDynamicDim(axis))
            return follow(operand, axis);
        }
        return {};
      });
}
