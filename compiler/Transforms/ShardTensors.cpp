//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"

#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_SHARDTENSORS
#include "compiler/Transforms/Passes.h.inc"

namespace {

/// Every weight and state of the module, and how many ops name it.
struct Symbols {
  llvm::StringMap<Operation *> declared;
  llvm::StringMap<unsigned> uses;

  explicit Symbols(ModuleOp module) {
    for (Operation &op : module.getOps())
      if (isa<WeightOp, StateOp>(op))
        declared[SymbolTable::getSymbolName(&op)] = &op;
    module.walk([&](Operation *op) {
      for (NamedAttribute attribute : op->getAttrs())
        attribute.getValue().walk([&](FlatSymbolRefAttr name) { ++uses[name.getValue()]; });
    });
  }
  /// The op that `name` declares, when one op alone reads it; else null.
  template <typename Op> Op own(Attribute name) const {
    StringRef text = cast<FlatSymbolRefAttr>(name).getValue();
    return uses.lookup(text) == 1 ? dyn_cast_or_null<Op>(declared.lookup(text)) : Op();
  }
};

/// One product whose input is spread over the ranks, and all in front of it that works on columns alone, back to the
/// products that read whole rows. Nothing is changed before all of it is known to be divisible.
class Shard {
public:
  Shard(const Symbols &symbols, int64_t ranks) : symbols(symbols), ranks(ranks) {}

  /// Of y = x W^T + b: each rank has columns of W.
  bool plan(LinearOp product) {
    return !product.getResidual() && !product.getGate() && product.getWeights().size() == 1 &&
           value(product.getInput()) && inside.size() > 1 && columns(product.getWeights()[0]) &&
           (!product.getBiases() || once((*product.getBiases())[0])) && closed(product);
  }
  /// Each rank has columns of every expert's hidden values.
  bool plan(MoeOp moe) {
    if (moe.getResidual())
      return false;
    for (auto part : moe.getInto().getAsRange<ArrayAttr>())
      for (Attribute name : part)
        if (!rows(name, moe.getGated() && moe.getInto().size() == 1 ? 2 : 1))
          return false;
    return llvm::all_of(moe.getDown(), [&](Attribute name) { return columns(name); });
  }

  void apply() {
    for (auto &[weight, shard] : weights) {
      SmallVector<int64_t> shape(weight.getTensorType().getShape());
      if (!shard.getPieces().empty())
        shape[shard.getAxis()] /= ranks;
      weight.setType(weight.getTensorType().clone(shape));
      weight.setShardAttr(shard);
    }
    for (Operation *op : inside) {
      // A value of which a rank has a part is no tap's.
      op->removeAttr(kTapAttr);
      for (Value result : op->getResults())
        local(result);
      if (auto attention = dyn_cast<AttentionOp>(op)) {
        attention.setHeads(attention.getHeads() / ranks);
        auto state = cast<StateOp>(symbols.declared.lookup(attention.getState()));
        state.setKvHeads(state.getKvHeads() / ranks);
      }
    }
  }

private:
  void local(Value rows) {
    auto type = cast<RankedTensorType>(rows.getType());
    rows.setType(type.clone({type.getDimSize(0), type.getDimSize(1) / ranks}));
  }
  bool divides(int64_t count) const { return count % ranks == 0; }
  bool divides(Value rows) const { return divides(getColumns(rows.getType())); }

  bool note(WeightOp weight, int64_t axis, ArrayRef<int64_t> pieces) {
    if (!weight || weight.getImportance() || !llvm::all_of(pieces, [&](int64_t piece) { return divides(piece); }))
      return false;
    auto type = weight.getTensorType();
    // What a checkpoint stores in blocks is cut between them.
    if (axis + 1 == type.getRank() &&
        !llvm::all_of(pieces, [&](int64_t piece) { return piece / ranks % blockElements(weight.getStorage()) == 0; }))
      return false;
    weights.push_back({weight, ShardAttr::get(weight.getContext(), ranks, axis, pieces)});
    return true;
  }
  /// The last axis of a matrix, or of each expert's.
  bool columns(Attribute name) {
    auto weight = symbols.own<WeightOp>(name);
    return weight && note(weight, weight.getTensorType().getRank() - 1, weight.getColumns());
  }
  /// The axis before, of `pieces` equal ones.
  bool rows(Attribute name, int64_t pieces) {
    auto weight = symbols.own<WeightOp>(name);
    if (!weight || weight.getTensorType().getRank() < 2)
      return false;
    int64_t axis = weight.getTensorType().getRank() - 2, length = weight.getTensorType().getDimSize(axis);
    return length % pieces == 0 && note(weight, axis, SmallVector<int64_t>(pieces, length / pieces));
  }
  /// A bias that is added once.
  bool once(Attribute name) { return note(symbols.own<WeightOp>(name), 0, {}); }

  /// A product that reads whole rows, whose outputs lie in `pieces`.
  bool leaf(LinearOp product, ArrayRef<int64_t> pieces) {
    if (product.getResidual() || product.getGate() || product.getWeights().size() != 1)
      return false;
    return note(symbols.own<WeightOp>(product.getWeights()[0]), 0, pieces) &&
           (!product.getBiases() || note(symbols.own<WeightOp>((*product.getBiases())[0]), 0, pieces));
  }

  /// Whether what gives `rows` works on columns alone, so that a rank's part of it needs its part of what it reads.
  bool value(Value rows) {
    Operation *op = rows.getDefiningOp();
    if (!op || !divides(rows))
      return false;
    if (!inside.insert(op))
      return true;
    return llvm::TypeSwitch<Operation *, bool>(op)
        .Case([&](LinearOp product) { return leaf(product, getColumns(rows.getType())); })
        .Case([&](SplitOp split) {
          // Each piece is split on its own, which the matrix in front must know of.
          auto product = split.getInput().getDefiningOp<LinearOp>();
          if (!product || !product.getResult().hasOneUse() || !inside.insert(product))
            return false;
          SmallVector<int64_t> pieces;
          for (Value piece : split.getResults())
            pieces.push_back(getColumns(piece.getType()));
          return leaf(product, pieces);
        })
        .Case<arith::AddFOp, arith::MulFOp>(
            [&](Operation *op) { return value(op->getOperand(0)) && value(op->getOperand(1)); })
        .Case<ActivationOp, ScaleOp, SoftcapOp>([&](Operation *op) { return value(op->getOperand(0)); })
        .Case([&](RopeOp rope) { return heads(rows, rope.getHeadDim()) && value(rope.getInput()); })
        .Case([&](RmsNormOp norm) {
          auto weight = dyn_cast_or_null<WeightOp>(symbols.declared.lookup(norm.getWeight()));
          return weight && heads(rows, weight.getColumns()) && value(norm.getInput());
        })
        .Case([&](AttentionOp attention) {
          auto state = symbols.own<StateOp>(attention.getStateAttr());
          return state && divides(attention.getHeads()) && divides(state.getKvHeads()) && value(attention.getQuery()) &&
                 value(attention.getKey()) && value(attention.getValue());
        })
        .Default(false);
  }
  /// Whether a rank has whole heads of `columns` columns.
  bool heads(Value rows, int64_t columns) const { return getColumns(rows.getType()) / ranks % columns == 0; }

  /// Nobody else reads what a rank has only a part of.
  bool closed(Operation *last) const {
    return llvm::all_of(inside, [&](Operation *op) {
      return llvm::all_of(op->getUsers(), [&](Operation *user) { return user == last || inside.contains(user); });
    });
  }

  const Symbols &symbols;
  const int64_t ranks;
  llvm::SetVector<Operation *> inside;
  SmallVector<std::pair<WeightOp, ShardAttr>> weights;
};

struct ShardTensors : impl::ShardTensorsBase<ShardTensors> {
  using ShardTensorsBase::ShardTensorsBase;

  void runOnOperation() override {
    const Symbols symbols(getOperation());
    SmallVector<Operation *> products;
    getOperation().walk([&](Operation *op) {
      if (isa<LinearOp, MoeOp>(op))
        products.push_back(op);
    });
    bool any = false;
    for (Operation *op : products) {
      Shard shard(symbols, ranks);
      auto linear = dyn_cast<LinearOp>(op);
      if (linear ? shard.plan(linear) : shard.plan(cast<MoeOp>(op))) {
        shard.apply();
        addUp(op);
        ++sharded;
        any = true;
      }
    }
    if (any)
      return;
    getOperation().emitError("no product of this model can be spread over ")
        << int64_t(ranks) << " ranks: heads, key and value heads, and columns between products, must divide by them";
    signalPassFailure();
  }

private:
  void addUp(Operation *product) {
    OpBuilder builder(product);
    builder.setInsertionPointAfter(product);
    Value part = product->getResult(0);
    auto sum = builder.create<AllReduceOp>(product->getLoc(), part, Value(), uint64_t(ranks));
    part.replaceAllUsesExcept(sum.getResult(), sum);
    takeTaps(product, sum);
    product->removeAttr(kTapAttr);
    product->removeAttr(kInnerTapsAttr);
  }
};

} // namespace
} // namespace mlc::graph
