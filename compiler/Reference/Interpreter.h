//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The reference interpreter of the graph level: one naive evaluation per op, in the order its formula states. It is the
// oracle of every artifact (docs/reference-interpreter.md).
//
#pragma once

#include "compiler/Reference/States.h"
#include "compiler/Reference/Value.h"
#include "compiler/Reference/Weights.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringMap.h"

namespace mlc::reference {

/// What keeps a hostile module from taking all memory or all time.
struct Limits {
  int64_t elements = int64_t(1) << 28; // Of one value.
  int64_t work = int64_t(1) << 33; // Elements evaluated by one call, products of graph ops not counted; an op is 16.
  unsigned depth = 64;             // Nested regions and calls.
};

template <typename T> class Frame;
template <typename T> using Evaluator = llvm::Error (*)(mlir::Operation *op, Frame<T> &frame);

template <typename T> class Interpreter {
public:
  /// `module` is verified and outlives the interpreter, as does `source`.
  Interpreter(mlir::ModuleOp module, WeightSource &source, const Limits &limits = {});

  /// Runs a function. Arguments must have its types' shapes; a batch's tokens are not checked against other arguments.
  llvm::Expected<llvm::SmallVector<ValueRef<T>>> call(llvm::StringRef function, llvm::ArrayRef<ValueRef<T>> arguments);

  /// Of Limits::work, what the last call left.
  int64_t remainingWork() const { return workLeft; }

  States<T> states;

private:
  friend class Frame<T>;
  llvm::Expected<llvm::SmallVector<ValueRef<T>>> callFunction(mlir::func::FuncOp function,
                                                              llvm::ArrayRef<ValueRef<T>> arguments);
  llvm::Error evaluate(mlir::Operation *op, Frame<T> &frame);
  llvm::ArrayRef<mlir::Value> deathsAt(mlir::Operation *op);

  mlir::ModuleOp module;
  WeightStore weights;
  Limits limits;
  int64_t workLeft = 0;
  unsigned depth = 0;
  llvm::StringMap<Evaluator<T>> evaluators;
  llvm::DenseMap<mlir::Block *, llvm::DenseMap<mlir::Operation *, llvm::SmallVector<mlir::Value>>> deaths;
};

extern template class Interpreter<float>;
extern template class Interpreter<double>;

} // namespace mlc::reference
