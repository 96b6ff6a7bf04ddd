//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/RowGroup.h"

#include "compiler/Codegen/RegionCode.h"
#include "compiler/Conversion/GraphToExec/BufferRegion.h"

#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace mlc {

/// Bytes of a block's internal buffers: what the second cache holds beside the operands that stream by.
static constexpr int64_t kBlockBytes = 192 << 10;
/// Shares of a group, each of several blocks where there are enough.
static constexpr int64_t kShares = 16;
/// Internal buffers that fit the first cache are not worth a group.
static constexpr int64_t kFewBytes = 32 << 10;

/// Whether the leading axes of `buffer` are those of the buffer behind its views.
static bool keepsLead(Value buffer, ArrayRef<int64_t> lead) {
  auto startsWithLead = [&](Value value) {
    return cast<MemRefType>(value.getType()).getShape().take_front(lead.size()) == lead;
  };
  for (; startsWithLead(buffer); buffer = buffer.getDefiningOp<ViewLikeOpInterface>().getViewSource()) {
    Operation *view = buffer.getDefiningOp();
    if (isa_and_nonnull<memref::AllocOp>(view))
      return true;
    auto alone = [&](ArrayRef<ReassociationIndices> groups) {
      return groups.size() >= lead.size() &&
             llvm::all_of(groups.take_front(lead.size()), [](ArrayRef<int64_t> group) { return group.size() == 1; });
    };
    if (auto collapse = dyn_cast_or_null<memref::CollapseShapeOp>(view)) {
      if (!alone(collapse.getReassociationIndices()))
        return false;
    } else if (auto expand = dyn_cast_or_null<memref::ExpandShapeOp>(view)) {
      if (!alone(expand.getReassociationIndices()))
        return false;
    } else if (auto slice = dyn_cast_or_null<memref::SubViewOp>(view)) {
      // All of the leading axes; of the others whatever is known.
      auto none = [](ArrayRef<int64_t> values, int64_t wanted) {
        return llvm::all_equal(values) && values[0] == wanted;
      };
      size_t count = lead.size();
      if (slice.getSourceType().getRank() != slice.getType().getRank() || !slice.getOffsets().empty() ||
          !slice.getSizes().empty() || !slice.getStrides().empty() ||
          !none(slice.getStaticOffsets().take_front(count), 0) || !none(slice.getStaticStrides().take_front(count), 1))
        return false;
    } else {
      return false;
    }
  }
  return false;
}

/// Whether what the body and the operands take from outside, buffers apart, are constants.
static bool readsConstantsAlone(linalg::LinalgOp op) {
  llvm::SetVector<Value> captured;
  getUsedValuesDefinedAbove(op->getRegions(), captured);
  bool buffers = llvm::any_of(captured, [](Value value) { return isa<MemRefType>(value.getType()); });
  captured.insert(op->operand_begin(), op->operand_end());
  return !buffers && !op.hasIndexSemantics() && llvm::all_of(captured, [](Value value) {
    return isa<MemRefType>(value.getType()) || value.getDefiningOp<arith::ConstantOp>();
  });
}

/// The loops of `op` that run along the leading axes, -1 for those of extent 1; nullopt when it does not go row by row.
std::optional<SmallVector<int64_t>> RowGroup::axesOf(linalg::LinalgOp op) const {
  SmallVector<int64_t> axes(lead.size(), -1);
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  bool any = false;
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()) || !isWritten(baseOf(operand.get())))
      continue;
    if (!keepsLead(operand.get(), lead))
      return std::nullopt;
    AffineMap map = op.getMatchingIndexingMap(&operand);
    for (auto [i, extent] : llvm::enumerate(lead)) {
      if (extent == 1)
        continue;
      auto dim = dyn_cast<AffineDimExpr>(map.getResult(i));
      if (!dim || (axes[i] >= 0 && axes[i] != int64_t(dim.getPosition())) ||
          kinds[dim.getPosition()] != utils::IteratorType::parallel)
        return std::nullopt;
      axes[i] = dim.getPosition();
    }
    any = true;
  }
  if (!any)
    return std::nullopt;
  // An index is one of these axes or knows none of them; and each block has its part of the result.
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    AffineMap map = op.getMatchingIndexingMap(&operand);
    for (auto [i, axis] : llvm::enumerate(axes)) {
      if (axis < 0)
        continue;
      unsigned uses = 0;
      for (AffineExpr expr : map.getResults()) {
        if (!expr.isFunctionOfDim(axis))
          continue;
        if (!isa<AffineDimExpr>(expr) || op.getStaticLoopRanges()[axis] != lead[i])
          return std::nullopt;
        ++uses;
      }
      if (uses > 1 || (op.isDpsInit(&operand) && !uses))
        return std::nullopt;
    }
  }
  return axes;
}

bool RowGroup::begin(linalg::GenericOp product) {
  SmallVector<AffineMap> maps = product.getIndexingMapsArray();
  Value result = product.getDpsInits()[0];
  auto type = cast<MemRefType>(result.getType());
  // [leading axes..., rows, panels, lanes] of x and panels that the network calculates.
  if (type.getRank() < 3 || !type.hasStaticShape() || !result.getDefiningOp<memref::AllocOp>() ||
      !baseOf(product.getDpsInputs()[1]).getDefiningOp<memref::AllocOp>() || !readsConstantsAlone(product))
    return false;
  lead.assign(type.getShape().begin(), type.getShape().end() - 2);
  written.insert(result);
  results.insert(result);
  std::optional<SmallVector<int64_t>> axes = axesOf(product);
  if (!axes || axes->back() < 0 || maps[1].isFunctionOfDim(axes->back()))
    return false;
  members.push_back(product);
  return true;
}

/// Whether the group goes on behind `op`.
bool RowGroup::join(Operation *op) {
  // Bodies read buffers, too (gathers).
  llvm::SetVector<Value> used(op->operand_begin(), op->operand_end());
  getUsedValuesDefinedAbove(op->getRegions(), used);
  SmallVector<Value> buffers;
  for (Value value : used)
    if (auto type = dyn_cast<MemRefType>(value.getType())) {
      if (!type.hasStaticShape())
        return false;
      buffers.push_back(baseOf(value));
    }
  auto structured = dyn_cast<linalg::LinalgOp>(op);
  auto copy = dyn_cast<memref::CopyOp>(op);
  if (!copy && (!structured || structured.getNumDpsInits() != 1))
    return false;
  Value target = baseOf(copy ? copy.getTarget() : structured.getDpsInits()[0]);
  // What is not by rows is there when the whole group has run.
  if (llvm::any_of(buffers, [&](Value buffer) { return results.contains(buffer) && !isWritten(buffer); }))
    return false;
  bool touches = llvm::any_of(buffers, [&](Value buffer) { return isWritten(buffer); });
  if (!touches) {
    // Stays in front of the group, or sets a buffer of rows up.
    auto type = cast<MemRefType>(target.getType());
    if (isa<linalg::FillOp>(op) && target == structured.getDpsInits()[0] && readsConstantsAlone(structured) &&
        target.getDefiningOp<memref::AllocOp>() && type.getShape().take_front(lead.size()) == ArrayRef(lead)) {
      written.insert(target);
      results.insert(target);
      members.push_back(op);
      return true;
    }
    return target.getDefiningOp<memref::AllocOp>() && llvm::none_of(members, [&](Operation *member) {
             return llvm::any_of(member->getOperands(), [&](Value operand) {
               return isa<MemRefType>(operand.getType()) && baseOf(operand) == target;
             });
           });
  }
  if (copy || !readsConstantsAlone(structured) || !target.getDefiningOp<memref::AllocOp>() || !axesOf(structured))
    return false;
  if (!isWritten(target) && structured.getDpsInits()[0] == target &&
      cast<MemRefType>(target.getType()).getShape().take_front(lead.size()) == ArrayRef(lead)) {
    // A buffer of rows like the others if it is written row by row.
    written.insert(target);
    if (!axesOf(structured))
      written.remove(target);
  }
  results.insert(target);
  members.push_back(op);
  return true;
}

/// Ends behind the last product and finds out which buffers nobody else reads.
void RowGroup::settle() {
  auto isProduct = [](Operation *op) {
    auto generic = dyn_cast<linalg::GenericOp>(op);
    return generic && isPanelProduct(generic);
  };
  while (members.size() > 1 && !isProduct(members.back()))
    members.pop_back();
  llvm::SmallPtrSet<Operation *, 16> inside(members.begin(), members.end());
  for (Value buffer : written) {
    SmallVector<Value> open{buffer};
    bool own = true;
    while (!open.empty() && own)
      for (Operation *user : open.pop_back_val().getUsers()) {
        Operation *reader = body->findAncestorOpInBlock(*user);
        if (isa<ViewLikeOpInterface>(user))
          open.append(user->result_begin(), user->result_end());
        else if (!isa<memref::DeallocOp>(user))
          own &= inside.contains(reader);
      }
    if (own)
      internals.insert(buffer);
  }
  for (Operation *op : members)
    for (Value operand : op->getOperands())
      if (isa<MemRefType>(operand.getType()) && !internals.contains(baseOf(operand)))
        externals.insert(baseOf(operand));
}

/// As many rows as the cache holds, of a number that divides theirs where there is one.
void RowGroup::chooseRows() {
  int64_t bytes = 0;
  for (Value buffer : internals) {
    auto type = cast<MemRefType>(buffer.getType());
    bytes += llvm::divideCeil(type.getElementTypeBitWidth(), 8) *
             ShapedType::getNumElements(type.getShape().drop_front(lead.size()));
  }
  // A few rows share what streams by, however long they are.
  constexpr int64_t kMultiple = 12;
  int64_t most = std::max(2 * kMultiple, kBlockBytes / std::max<int64_t>(bytes, 1));
  if (bytes * lead.back() <= kFewBytes)
    return;
  if (lead.back() <= most) {
    rows = lead.back();
    return;
  }
  for (rows = most; rows > most / 2; --rows)
    if (lead.back() % rows == 0)
      return;
  rows = most / kMultiple * kMultiple;
}

std::optional<RowGroup> RowGroup::find(Operation *first) {
  RowGroup group(*first->getBlock());
  auto product = dyn_cast<linalg::GenericOp>(first);
  if (!product || !isPanelProduct(product) || !group.begin(product))
    return std::nullopt;
  // The zeros that the product starts from.
  for (Operation *before = first->getPrevNode(); before; before = before->getPrevNode()) {
    if (isDeferred(before) || isa<memref::AllocOp>(before))
      continue;
    auto fill = dyn_cast<linalg::FillOp>(before);
    if (fill && fill.getOutputs()[0] == product.getDpsInits()[0])
      group.members.insert(group.members.begin(), before);
    break;
  }
  for (Operation *op = first->getNextNode(); op && !op->hasTrait<OpTrait::IsTerminator>(); op = op->getNextNode())
    if (!isDeferred(op) && !isa<memref::AllocOp, memref::DeallocOp>(op) && !group.join(op))
      break;
  group.settle();
  if (group.members.back() == first || group.internals.empty())
    return std::nullopt;
  group.chooseRows();
  if (!group.rows || group.externals.size() + group.internals.size() > 31)
    return std::nullopt;
  return group;
}

int64_t RowGroup::shares() const {
  int64_t blocks = llvm::divideCeil(lead.back(), rows);
  for (int64_t extent : ArrayRef(lead).drop_back())
    blocks *= extent;
  return std::min(blocks, kShares);
}

SmallVector<MemRefType> RowGroup::places() const {
  return llvm::map_to_vector(internals, [&](Value buffer) {
    auto type = cast<MemRefType>(buffer.getType());
    SmallVector<int64_t> shape{shares()};
    shape.append(lead.size() - 1, 1);
    shape.push_back(rows);
    llvm::append_range(shape, type.getShape().drop_front(lead.size()));
    return MemRefType::get(shape, type.getElementType());
  });
}

} // namespace mlc
