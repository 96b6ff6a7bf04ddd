//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/ElementwiseOps.h"
#include "compiler/Transforms/Passes.h"

#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_OUTLINEELEMENTWISE
#include "compiler/Transforms/Passes.h.inc"

namespace {

/// Ops of one block that become one region. Merged away: without members.
struct Group {
  SmallVector<Operation *> members;
  bool needed = false; // Holds an op that no kernel runs.
};

/// The groups of one block.
class BlockOutliner {
public:
  BlockOutliner(Block &block, bool all) : block(block), all(all) {}

  LogicalResult run() {
    int64_t index = 0;
    for (Operation &op : block)
      order[&op] = index++;
    for (Operation &op : block)
      if (isElementwise(&op))
        place(&op);
    for (auto &group : groups)
      if (!group->members.empty() && (group->needed || all)) {
        if (failed(outline(*group)))
          return failure();
        ++regions;
      }
    if (regions)
      sortTopologically(&block);
    return success();
  }

  unsigned regions = 0; // Made by run().

private:
  /// Puts `op` with its operands' groups where that makes no cycle through an op outside, else into one of its own.
  void place(Operation *op) {
    Group *group = groups.emplace_back(std::make_unique<Group>()).get();
    group->members.push_back(op);
    group->needed = needsCode(op);
    groupOf[op] = group;
    for (Value operand : op->getOperands()) {
      Group *other = groupOf.lookup(operand.getDefiningOp());
      if (other && other != group && sameShape(operand, op->getResult(0)) && mayMerge(*group, *other))
        merge(*other, *group);
    }
  }

  static bool sameShape(Value a, Value b) {
    return cast<ShapedType>(a.getType()).getShape() == cast<ShapedType>(b.getType()).getShape();
  }

  void merge(Group &from, Group &into) {
    for (Operation *member : from.members)
      groupOf[member] = &into;
    into.members.append(from.members);
    into.needed |= from.needed;
    from.members.clear();
    llvm::sort(into.members, [&](Operation *a, Operation *b) { return order[a] < order[b]; });
  }

  /// Whether no path leads from one of the two groups to one of them through an op outside both.
  bool mayMerge(Group &a, Group &b) {
    DenseSet<Operation *> seen;
    SmallVector<Operation *> open;
    auto inside = [&](Operation *op) {
      Group *group = groupOf.lookup(op);
      return group == &a || group == &b;
    };
    // A group runs as one op: reaching a member reaches what the others read.
    auto visit = [&](Operation *op) {
      if (Group *group = groupOf.lookup(op); group && (group->needed || all)) {
        for (Operation *member : group->members)
          if (seen.insert(member).second)
            open.push_back(member);
      } else if (seen.insert(op).second) {
        open.push_back(op);
      }
    };
    auto definers = [&](Operation *op, llvm::function_ref<void(Operation *)> use) {
      auto each = [&](Value value) {
        if (Operation *definer = value.getDefiningOp(); definer && definer->getBlock() == &block)
          use(definer);
      };
      for (Value operand : op->getOperands())
        each(operand);
      llvm::SetVector<Value> captured;
      getUsedValuesDefinedAbove(op->getRegions(), captured);
      for (Value value : captured)
        each(value);
    };
    for (Group *group : {&a, &b})
      for (Operation *member : group->members)
        definers(member, [&](Operation *definer) {
          if (!inside(definer))
            visit(definer);
        });
    while (!open.empty()) {
      Operation *op = open.pop_back_val();
      bool cycle = false;
      definers(op, [&](Operation *definer) {
        if (inside(definer))
          cycle = true;
        else
          visit(definer);
      });
      if (cycle)
        return false;
    }
    return true;
  }

  LogicalResult outline(Group &group) {
    DenseSet<Operation *> members(group.members.begin(), group.members.end());
    llvm::SetVector<Value> inputs, outputs;
    SmallVector<Location> locations;
    for (Operation *member : group.members) {
      locations.push_back(member->getLoc());
      for (Value operand : elementwiseOperands(member))
        if (!members.contains(operand.getDefiningOp()) && !splatOf(operand))
          inputs.insert(operand);
      for (Value result : member->getResults())
        if (llvm::any_of(result.getUsers(),
                         [&](Operation *user) { return !members.contains(block.findAncestorOpInBlock(*user)); }))
          outputs.insert(result);
    }
    Operation *last = group.members.back();
    for (ValueRange values : {ValueRange(inputs.getArrayRef()), ValueRange(outputs.getArrayRef())})
      for (Value value : values)
        if (!cast<ShapedType>(value.getType()).getElementType().isF32())
          return emitError(value.getLoc())
                 << "is " << value.getType() << ", but a compiled region reads and writes f32 alone; write it with f32";
    if (outputs.empty())
      return success();
    if (inputs.empty())
      return last->emitOpError("is computed from constants alone; write the result as one constant");

    OpBuilder builder(last);
    SmallVector<Type> types(outputs.size(), inputs[0].getType());
    SmallVector<Value> inits(outputs.size(), inputs[0]);
    unsigned rank = cast<ShapedType>(inputs[0].getType()).getRank();
    SmallVector<AffineMap> maps(inputs.size() + outputs.size(), builder.getMultiDimIdentityMap(rank));
    SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
    auto region =
        builder.create<linalg::GenericOp>(builder.getFusedLoc(locations), types, inputs.getArrayRef(), inits, maps,
                                          iterators, [&](OpBuilder &body, Location location, ValueRange arguments) {
                                            IRMapping scalars;
                                            for (auto [input, argument] : llvm::zip(inputs, arguments))
                                              scalars.map(input, argument);
                                            for (Operation *member : group.members)
                                              cloneScalar(body, member, scalars);
                                            SmallVector<Value> results;
                                            for (Value output : outputs)
                                              results.push_back(scalars.lookup(output));
                                            body.create<linalg::YieldOp>(location, results);
                                          });
    region->setAttr(kRegionAttr, builder.getUnitAttr());
    // The slot of the first result is that of its op; what else was tapped lies inside.
    Operation *first = outputs[0].getDefiningOp();
    if (Attribute tap = first->removeAttr(kTapAttr))
      region->setAttr(kTapAttr, tap);
    for (Operation *member : group.members)
      swallowTaps(member, region);
    for (auto [output, result] : llvm::zip(outputs.takeVector(), region.getResults()))
      output.replaceAllUsesWith(result);
    for (Operation *member : llvm::reverse(group.members))
      member->erase();
    return success();
  }

  Block &block;
  bool all;
  DenseMap<Operation *, int64_t> order;
  DenseMap<Operation *, Group *> groupOf;
  std::vector<std::unique_ptr<Group>> groups;
};

/// Erases what made the splats that regions now hold.
void eraseDead(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (isOpTriviallyDead(&op))
      op.erase();
}

struct OutlineElementwise : impl::OutlineElementwiseBase<OutlineElementwise> {
  using OutlineElementwiseBase::OutlineElementwiseBase;
  void runOnOperation() override {
    SmallVector<Block *> blocks;
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<linalg::LinalgOp>(op))
        return WalkResult::skip();
      if (!isa<ModuleOp>(op))
        for (Region &region : op->getRegions())
          for (Block &block : region)
            blocks.push_back(&block);
      return WalkResult::advance();
    });
    unsigned made = 0;
    for (Block *block : blocks) {
      BlockOutliner outliner(*block, all);
      if (failed(outliner.run()))
        return signalPassFailure();
      made += outliner.regions;
    }
    regions += made;
    // Inner blocks first: they read what outer ones make.
    if (made)
      for (Block *block : llvm::reverse(blocks))
        eraseDead(*block);
  }
};
} // namespace
} // namespace mlc::graph
