//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Constants: from the values of a file, and folded by the reference interpreter.
//
#pragma once

#include "compiler/Import/Checkpoint.h"
#include "compiler/Reference/Interpreter.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/StringMap.h"

#include <optional>

namespace mlc::onnx {

/// The weights of a model, by the names of their graph.weight ops.
class WeightTable {
public:
  void add(TensorInfo info) {
    index[info.name] = infos.size();
    infos.push_back(std::move(info));
  }
  /// Null when there is none.
  const TensorInfo *find(llvm::StringRef name) const {
    auto found = index.find(name);
    return found == index.end() ? nullptr : &infos[found->second];
  }
  /// Those that `keep` wants; the table is empty then.
  std::vector<TensorInfo> take(llvm::function_ref<bool(llvm::StringRef)> keep);

private:
  std::vector<TensorInfo> infos;
  llvm::StringMap<size_t> index;
};

/// The graph.weight op of a tensor of the file.
void createWeight(mlir::OpBuilder &builder, mlir::Location loc, const TensorInfo &info, mlir::RankedTensorType type);

/// The values of a tensor of the file as an attribute of `type`.
mlir::DenseElementsAttr constantOf(const TensorInfo &info, mlir::RankedTensorType type);

/// What `values`, results of `ops`, are, when everything that `ops` read is constant (or a weight of `weights`) and all
/// of it is small; nullopt otherwise. Extents that a run finds are those that were found. What a file may have computed
/// in all is limited: the work is taken off `limits`, of which one call may take an eighth.
std::optional<llvm::SmallVector<mlir::DenseElementsAttr>> foldConstants(llvm::ArrayRef<mlir::Operation *> ops,
                                                                        llvm::ArrayRef<mlir::Value> values,
                                                                        const WeightTable &weights,
                                                                        reference::Limits &limits);

/// Seconds at most.
inline constexpr reference::Limits kFoldLimits = {int64_t(1) << 22, int64_t(1) << 26, 16};

} // namespace mlc::onnx
