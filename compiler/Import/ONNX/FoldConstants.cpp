//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/ONNX/FoldConstants.h"

#include "compiler/Reference/EvaluateOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"

using namespace mlir;

namespace mlc::onnx {

constexpr int64_t kMostRead = 1 << 16;  // Elements of each constant that is read.
constexpr int64_t kMostGiven = 1 << 12; // Of all results.

DenseElementsAttr constantOf(const TensorInfo &info, RankedTensorType type) {
  Type element = type.getElementType();
  if (element.isInteger(1)) {
    SmallVector<bool> values;
    for (uint64_t i = 0; i < info.bytes; ++i)
      values.push_back(info.data[i] != 0);
    return DenseElementsAttr::get(type, values);
  }
  // The bytes may lie anywhere; the attribute wants them aligned.
  uint64_t size = element.getIntOrFloatBitWidth() / 8;
  SmallVector<APInt> bits;
  for (uint64_t i = 0; i * size < info.bytes; ++i) {
    uint64_t raw = 0;
    memcpy(&raw, info.data + i * size, size);
    bits.push_back(APInt(unsigned(size * 8), raw));
  }
  if (auto floats = dyn_cast<FloatType>(element)) {
    SmallVector<APFloat> values;
    for (const APInt &raw : bits)
      values.push_back(APFloat(floats.getFloatSemantics(), raw));
    return DenseElementsAttr::get(type, values);
  }
  return DenseElementsAttr::get(type, bits);
}

std::vector<TensorInfo> WeightTable::take(llvm::function_ref<bool(StringRef)> keep) {
  llvm::erase_if(infos, [&](const TensorInfo &info) { return !keep(info.name); });
  index.clear();
  return std::move(infos);
}

void createWeight(OpBuilder &builder, Location loc, const TensorInfo &info, RankedTensorType type) {
  builder.create<graph::WeightOp>(loc, info.name, type, graph::Storage(unsigned(info.storage)), graph::QuantAttr(),
                                  DenseF32ArrayAttr(), graph::ShardAttr(), false, false);
}

namespace {

class InfoWeights : public reference::WeightSource {
public:
  explicit InfoWeights(const WeightTable &weights) : weights(weights) {}
  llvm::Expected<std::vector<float>> load(graph::WeightOp weight) override {
    const TensorInfo *info = weights.find(weight.getSymName());
    std::vector<float> values(info->elements());
    Checkpoint::readRows(*info, 0, info->rows(), values.data());
    return values;
  }
  llvm::Expected<std::vector<uint8_t>> loadStored(graph::WeightOp weight) override {
    const TensorInfo *info = weights.find(weight.getSymName());
    return std::vector<uint8_t>(info->data, info->data + info->bytes);
  }

private:
  const WeightTable &weights;
};

} // namespace

std::optional<SmallVector<DenseElementsAttr>> foldConstants(ArrayRef<Operation *> ops, ArrayRef<Value> values,
                                                            const WeightTable &weights, reference::Limits &limits) {
  int64_t given = 0;
  for (Value value : values) {
    auto type = cast<RankedTensorType>(value.getType());
    if (type.hasStaticShape() && (given += type.getNumElements()) > kMostGiven)
      return std::nullopt;
  }
  InfoWeights source(weights);
  // What stands around the ops.
  llvm::SetVector<Operation *> leaves;
  llvm::SmallPtrSet<Operation *, 16> inside(ops.begin(), ops.end());
  for (Operation *op : ops) {
    bool constant = true;
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands()) {
        if (auto argument = dyn_cast<BlockArgument>(operand)) {
          // Null: of a body whose loop is not yet written.
          Operation *parent = argument.getOwner()->getParentOp();
          constant &= parent && op->isAncestor(parent);
          continue;
        }
        Operation *from = operand.getDefiningOp();
        if (op->isAncestor(from) || inside.contains(from))
          continue;
        auto type = dyn_cast<RankedTensorType>(operand.getType());
        constant &= isa<arith::ConstantOp, graph::ReadOp>(from) && (!type || type.getNumElements() <= kMostRead);
        leaves.insert(from);
      }
    });
    if (!constant)
      return std::nullopt;
  }

  for (Operation *leaf : leaves)
    if (auto read = dyn_cast<graph::ReadOp>(leaf); read && !weights.find(read.getWeight()))
      return std::nullopt;
  auto declare = [&](OpBuilder &builder, graph::ReadOp read) {
    createWeight(builder, read.getLoc(), *weights.find(read.getWeight()), read.getType());
  };
  reference::Limits own = limits;
  own.work = limits.work / 8;
  auto folded = reference::evaluateOps<double>(leaves.getArrayRef(), ops, values, source, declare, own);
  limits.work -= limits.work / 8 - own.work;
  if (!folded) {
    // It stays as it is, and a run, or the importer's own verifier, says what is wrong with it.
    llvm::consumeError(folded.takeError());
    return std::nullopt;
  }
  for (DenseElementsAttr attribute : *folded)
    if (attribute.getNumElements() > kMostGiven)
      return std::nullopt;
  return std::move(*folded);
}

} // namespace mlc::onnx
