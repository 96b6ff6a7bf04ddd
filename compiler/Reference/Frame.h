//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What an evaluation of an op sees: the values of the function it stands in, weights, states and limits.
//
#pragma once

#include "compiler/Reference/Interpreter.h"

#include "llvm/ADT/Twine.h"

namespace mlc::reference {

/// One line: where the op stands, its name, and `message`.
llvm::Error failAt(mlir::Operation *op, const llvm::Twine &message);

/// The values of one activation of a function.
template <typename T> class Frame {
public:
  explicit Frame(Interpreter<T> &interpreter) : interpreter(interpreter) {}

  ValueRef<T> ref(mlir::Value value) const { return values.lookup(value); }
  /// The verifier has seen to it that a value's type and these agree.
  const Floats<T> &floats(mlir::Value value) const { return std::get<Floats<T>>(*ref(value)); }
  const Integers &integers(mlir::Value value) const { return std::get<Integers>(*ref(value)); }
  const QuantizedRows &quantized(mlir::Value value) const { return std::get<QuantizedRows>(*ref(value)); }
  const Batch &batch(mlir::Value value) const { return std::get<Batch>(*ref(value)); }
  bool isFloat(mlir::Value value) const { return std::holds_alternative<Floats<T>>(*ref(value)); }
  const Shape &shape(mlir::Value value) const { return isFloat(value) ? floats(value).shape : integers(value).shape; }
  /// A scalar operand.
  int64_t integer(mlir::Value value) const { return integers(value).data.front(); }

  void set(mlir::Value value, HostValue<T> host) {
    values[value] = std::make_shared<const HostValue<T>>(std::move(host));
  }
  void set(mlir::Value value, ValueRef<T> host) { values[value] = std::move(host); }
  void drop(mlir::Value value) { values.erase(value); }

  /// Evaluates a block with `arguments` and gives what its terminator hands on.
  llvm::Expected<llvm::SmallVector<ValueRef<T>>> runBlock(mlir::Block &block, llvm::ArrayRef<ValueRef<T>> arguments);
  llvm::Expected<llvm::SmallVector<ValueRef<T>>> call(mlir::func::FuncOp function,
                                                      llvm::ArrayRef<ValueRef<T>> arguments) {
    return interpreter.callFunction(function, arguments);
  }

  /// A shape that may be allocated; charges its elements.
  llvm::Error admit(mlir::Operation *op, llvm::ArrayRef<int64_t> shape);
  /// Charges `amount` evaluations.
  llvm::Error spend(mlir::Operation *op, int64_t amount);

  WeightStore &weights() { return interpreter.weights; }
  States<T> &states() { return interpreter.states; }

private:
  Interpreter<T> &interpreter;
  llvm::DenseMap<mlir::Value, ValueRef<T>> values;
};

/// Where an op family puts its evaluations.
template <typename T> class Evaluators {
public:
  explicit Evaluators(llvm::StringMap<Evaluator<T>> &table) : table(table) {}
  template <typename Op, llvm::Error (*evaluate)(Op, Frame<T> &)> void add() {
    table[Op::getOperationName()] = [](mlir::Operation *op, Frame<T> &frame) {
      return evaluate(llvm::cast<Op>(op), frame);
    };
  }
  void add(llvm::StringRef name, Evaluator<T> evaluate) { table[name] = evaluate; }

private:
  llvm::StringMap<Evaluator<T>> &table;
};

/// One for each file of evaluations.
template <typename T> void registerLinear(Evaluators<T> evaluators);
template <typename T> void registerMoe(Evaluators<T> evaluators);
template <typename T> void registerNorm(Evaluators<T> evaluators);
template <typename T> void registerRope(Evaluators<T> evaluators);
template <typename T> void registerAttention(Evaluators<T> evaluators);
template <typename T> void registerRecurrent(Evaluators<T> evaluators);
template <typename T> void registerNetwork(Evaluators<T> evaluators);
template <typename T> void registerCells(Evaluators<T> evaluators);
template <typename T> void registerBlocks(Evaluators<T> evaluators);
template <typename T> void registerSelection(Evaluators<T> evaluators);
template <typename T> void registerActivation(Evaluators<T> evaluators);
template <typename T> void registerArith(Evaluators<T> evaluators);
template <typename T> void registerMath(Evaluators<T> evaluators);
template <typename T> void registerTensor(Evaluators<T> evaluators);
template <typename T> void registerControlFlow(Evaluators<T> evaluators);
template <typename T> void registerStructured(Evaluators<T> evaluators);
/// Every structured op is evaluated through its interface.
template <typename T> llvm::Error evaluateStructured(mlir::Operation *op, Frame<T> &frame);

/// Instantiates a file's registration for both float types.
#define MLC_REFERENCE_FAMILY(REGISTER)                                                                                 \
  template void REGISTER<float>(Evaluators<float>);                                                                    \
  template void REGISTER<double>(Evaluators<double>);

} // namespace mlc::reference
