//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/VectorBody.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace mlc {

std::optional<int64_t> strideOn(linalg::GenericOp op, OpOperand &operand, unsigned axis) {
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  SmallVector<int64_t> strides;
  int64_t offset, step = 0;
  if (!type || failed(getStridesAndOffset(type, strides, offset)))
    return std::nullopt;
  for (auto [expr, stride] : llvm::zip(op.getMatchingIndexingMap(&operand).getResults(), strides)) {
    if (!expr.isFunctionOfDim(axis))
      continue;
    if (!isa<AffineDimExpr>(expr) || step)
      return std::nullopt;
    step = stride;
  }
  return step;
}

SmallVector<Value> loopExtents(ImplicitLocOpBuilder &b, linalg::GenericOp op) {
  return llvm::map_to_vector(
      cast<linalg::LinalgOp>(op.getOperation()).createLoopRanges(b, b.getLoc()),
      [&](const Range &range) { return getValueOrCreateConstantIndexOp(b, b.getLoc(), range.size); });
}

bool holdsFloats(linalg::GenericOp op) {
  return llvm::all_of(op->getOperands(), [](Value value) {
    auto type = dyn_cast<MemRefType>(value.getType());
    return type && type.getElementType().isF32();
  });
}

bool worksOnVectors(linalg::GenericOp op) {
  return llvm::all_of(op.getBody()->without_terminator(), [](Operation &inner) {
    return isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::NegFOp, arith::MaximumFOp,
               arith::MinimumFOp, arith::MaxNumFOp, arith::MinNumFOp>(inner) &&
           inner.getResult(0).getType().isF32();
  });
}

SmallVector<Value> shiftedIndices(ImplicitLocOpBuilder &b, AffineMap map, ArrayRef<Value> place, unsigned axis,
                                  int64_t step) {
  SmallVector<AffineExpr> shifted;
  SmallVector<OpFoldResult> operands;
  for (unsigned dim = 0; dim < map.getNumDims(); ++dim) {
    shifted.push_back(b.getAffineDimExpr(dim) + (dim == axis ? step : 0));
    operands.push_back(place[dim] ? OpFoldResult(place[dim]) : b.getIndexAttr(0));
  }
  SmallVector<Value> result;
  for (AffineExpr expr : map.getResults()) {
    AffineMap one = AffineMap::get(map.getNumDims(), 0, expr.replaceDims(shifted));
    result.push_back(getValueOrCreateConstantIndexOp(
        b, b.getLoc(), affine::makeComposedFoldedAffineApply(b, b.getLoc(), one, operands)));
  }
  return result;
}

Value cloneBody(ImplicitLocOpBuilder &b, Block &body, Operation *end, IRMapping &mapping, Value wanted, Type type) {
  auto valueOf = [&](Value value) {
    if (Value known = mapping.lookupOrNull(value))
      return known;
    Value from = value.getType() == type ? value : b.create<vector::BroadcastOp>(type, value).getResult();
    mapping.map(value, from);
    return from;
  };
  for (Operation &inner : body) {
    if (&inner == end)
      break;
    SmallVector<Value> values(llvm::map_range(inner.getOperands(), valueOf));
    OperationState state(b.getLoc(), inner.getName().getStringRef(), values, type, inner.getAttrs());
    mapping.map(inner.getResult(0), b.create(state)->getResult(0));
  }
  return valueOf(wanted);
}

} // namespace mlc
