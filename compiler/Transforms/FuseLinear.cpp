//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_FUSELINEAR
#include "compiler/Transforms/Passes.h.inc"

namespace {

/// Whether the weights of both are stored alike, so that their rows can lie one under the other.
bool storedAlike(LinearOp a, LinearOp b) {
  auto first = [](LinearOp linear) { return lookupWeight(linear, cast<FlatSymbolRefAttr>(linear.getWeights()[0])); };
  WeightOp x = first(a), y = first(b);
  bool alike = x.getQuant() ? x.getQuantAttr() == y.getQuantAttr() : !y.getQuant() && x.getStorage() == y.getStorage();
  return alike && x.getExpand() == y.getExpand() && x.getImportanceAttr() == y.getImportanceAttr();
}

/// Whether some other op reads one of the weights: such a weight is stored on its own.
bool sharedWeight(LinearOp linear, const llvm::StringMap<unsigned> &uses) {
  return llvm::any_of(linear.getWeights(),
                      [&](Attribute name) { return uses.lookup(cast<FlatSymbolRefAttr>(name).getValue()) > 1; });
}

struct FuseLinear : impl::FuseLinearBase<FuseLinear> {
  void runOnOperation() override {
    llvm::StringMap<unsigned> uses;
    getOperation().walk([&](Operation *op) {
      if (auto linear = dyn_cast<LinearOp>(op))
        for (Attribute name : linear.getWeights())
          ++uses[cast<FlatSymbolRefAttr>(name).getValue()];
      if (auto embedding = dyn_cast<EmbeddingOp>(op))
        ++uses[embedding.getWeight()];
    });
    SmallVector<SmallVector<LinearOp>> groups;
    DenseMap<std::pair<Value, Block *>, SmallVector<unsigned>> groupsOf;
    getOperation().walk([&](LinearOp linear) {
      if (linear.getResidual() || isRouting(linear) || sharedWeight(linear, uses))
        return;
      SmallVector<unsigned> &candidates = groupsOf[{linear.getInput(), linear->getBlock()}];
      for (unsigned index : candidates) {
        LinearOp leader = groups[index].front();
        if (bool(leader.getBiases()) == bool(linear.getBiases()) && storedAlike(leader, linear)) {
          groups[index].push_back(linear);
          return;
        }
      }
      candidates.push_back(groups.size());
      groups.push_back({linear});
    });
    for (ArrayRef<LinearOp> group : groups)
      if (group.size() > 1)
        merge(group);
  }

private:
  void merge(ArrayRef<LinearOp> group) {
    LinearOp leader = group.front();
    OpBuilder builder(leader);
    SmallVector<Attribute> weights, biases;
    SmallVector<Type> pieces;
    SmallVector<Location> locations;
    int64_t columns = 0;
    for (LinearOp linear : group) {
      llvm::append_range(weights, linear.getWeights());
      if (linear.getBiases())
        llvm::append_range(biases, *linear.getBiases());
      pieces.push_back(linear.getResult().getType());
      locations.push_back(linear.getLoc());
      columns += getColumns(pieces.back());
    }
    auto first = cast<RankedTensorType>(pieces.front());
    SmallVector<int64_t> shape(first.getShape());
    shape.back() = columns;
    Location location = builder.getFusedLoc(locations);
    auto merged = builder.create<LinearOp>(location, RankedTensorType::get(shape, first.getElementType()),
                                           leader.getInput(), Value(), builder.getArrayAttr(weights),
                                           biases.empty() ? ArrayAttr() : builder.getArrayAttr(biases),
                                           ActivationAttr(), UnitAttr());
    auto split = builder.create<SplitOp>(location, pieces, merged.getResult());
    for (auto [i, member] : llvm::enumerate(group)) {
      LinearOp linear = member;
      // The piece is the value itself: its tap stays readable as columns of the product.
      swallowTaps(linear, merged);
      linear.getResult().replaceAllUsesWith(split.getResult(i));
      linear->erase();
    }
    this->merged += group.size() - 1;
  }
};
} // namespace
} // namespace mlc::graph
