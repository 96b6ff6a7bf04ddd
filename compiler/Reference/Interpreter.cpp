//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Reference/Frame.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace mlc::reference {

static std::string locationText(Location location) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (auto file = location->findInstanceOf<FileLineColLoc>())
    stream << file.getFilename().getValue() << ':' << file.getLine() << ':' << file.getColumn();
  else
    location.print(stream);
  return text;
}

llvm::Error failAt(Operation *op, const Twine &message) {
  std::string text = (locationText(op->getLoc()) + ": " + op->getName().getStringRef() + ": " + message).str();
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "%s", text.c_str());
}

template <typename T> llvm::Error Frame<T>::spend(Operation *op, int64_t amount) {
  if (amount > interpreter.workLeft) {
    interpreter.workLeft = 0;
    return failAt(op, "the interpreter's work limit is used up; use a smaller input");
  }
  interpreter.workLeft -= amount;
  return llvm::Error::success();
}

template <typename T> llvm::Error Frame<T>::admit(Operation *op, ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t dim : shape)
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count) || count > interpreter.limits.elements)
      return failAt(op, "a value would have more than " + Twine(interpreter.limits.elements) + " elements");
  return spend(op, count);
}

/// Whether a host value is what `type` promises; dynamic dimensions take any extent.
template <typename T> static bool conforms(const HostValue<T> &value, Type type) {
  if (isa<graph::BatchType>(type))
    return std::holds_alternative<Batch>(value);
  if (auto quantized = dyn_cast<graph::QuantizedType>(type)) {
    auto *rows = std::get_if<QuantizedRows>(&value);
    return rows && rows->columns == quantized.getColumns() && rows->group == quantized.getGroup();
  }
  auto tensor = dyn_cast<RankedTensorType>(type);
  const Shape *shape = nullptr;
  Type element = tensor ? tensor.getElementType() : type;
  if (isa<FloatType>(element)) {
    if (auto *floats = std::get_if<Floats<T>>(&value))
      shape = &floats->shape;
  } else if (element.isIndex() || (element.isInteger() && element.getIntOrFloatBitWidth() <= 64)) {
    if (auto *integers = std::get_if<Integers>(&value))
      shape = &integers->shape;
  }
  if (!shape || !tensor)
    return shape && shape->empty();
  return int64_t(shape->size()) == tensor.getRank() &&
         llvm::all_of(llvm::zip(*shape, tensor.getShape()), [](auto pair) {
           return std::get<1>(pair) == ShapedType::kDynamic || std::get<0>(pair) == std::get<1>(pair);
         });
}

template <typename T>
Interpreter<T>::Interpreter(ModuleOp module, WeightSource &source, const Limits &limits)
    : module(module), weights(source), limits(limits) {
  Evaluators<T> table(evaluators);
  registerLinear<T>(table);
  registerMoe<T>(table);
  registerNorm<T>(table);
  registerRope<T>(table);
  registerAttention<T>(table);
  registerRecurrent<T>(table);
  registerNetwork<T>(table);
  registerCells<T>(table);
  registerSelection<T>(table);
  registerBlocks<T>(table);
  registerActivation<T>(table);
  registerArith<T>(table);
  registerMath<T>(table);
  registerTensor<T>(table);
  registerControlFlow<T>(table);
  registerStructured<T>(table);
}

/// Values that no op of the block needs after `op`.
template <typename T> ArrayRef<Value> Interpreter<T>::deathsAt(Operation *op) {
  Block *block = op->getBlock();
  auto [entry, isNew] = deaths.try_emplace(block);
  if (isNew) {
    auto record = [&](Value value, Operation *last) {
      for (Operation *user : value.getUsers()) {
        Operation *ancestor = block->findAncestorOpInBlock(*user);
        if (ancestor && last->isBeforeInBlock(ancestor))
          last = ancestor;
      }
      entry->second[last].push_back(value);
    };
    for (Value argument : block->getArguments())
      record(argument, &block->front());
    for (Operation &each : *block)
      for (Value result : each.getResults())
        record(result, &each);
  }
  auto found = entry->second.find(op);
  return found == entry->second.end() ? ArrayRef<Value>() : ArrayRef<Value>(found->second);
}

template <typename T> llvm::Error Interpreter<T>::evaluate(Operation *op, Frame<T> &frame) {
  constexpr int64_t kOpWork = 16;
  if (llvm::Error error = frame.spend(op, kOpWork))
    return error;
  auto found = evaluators.find(op->getName().getStringRef());
  llvm::Error error = llvm::Error::success();
  if (found != evaluators.end())
    error = found->second(op, frame);
  else if (isa<linalg::LinalgOp>(op))
    error = evaluateStructured<T>(op, frame);
  else
    error = failAt(op, "the reference interpreter has no evaluation of this op");
  return error;
}

template <typename T>
llvm::Expected<SmallVector<ValueRef<T>>> Frame<T>::runBlock(Block &block, ArrayRef<ValueRef<T>> arguments) {
  Operation *terminator = block.getTerminator();
  if (interpreter.depth >= interpreter.limits.depth)
    return failAt(terminator, "regions and calls are nested deeper than " + Twine(interpreter.limits.depth));
  ++interpreter.depth;
  auto leave = llvm::make_scope_exit([&] { --interpreter.depth; });
  for (auto [argument, value] : llvm::zip_equal(block.getArguments(), arguments))
    set(argument, value);
  for (Operation &op : block.without_terminator()) {
    if (llvm::Error error = interpreter.evaluate(&op, *this))
      return error;
    // A body of a structured op holds whole iteration spaces where its types say scalars.
    if (!isa<linalg::LinalgOp>(op.getParentOp()))
      for (Value result : op.getResults())
        if (!conforms<T>(*ref(result), result.getType()))
          return failAt(&op, "the value computed does not have the result's type");
    for (Value dead : interpreter.deathsAt(&op))
      drop(dead);
  }
  SmallVector<ValueRef<T>> results;
  for (Value operand : terminator->getOperands())
    results.push_back(ref(operand));
  return results;
}

template <typename T>
llvm::Expected<SmallVector<ValueRef<T>>> Interpreter<T>::callFunction(func::FuncOp function,
                                                                      ArrayRef<ValueRef<T>> arguments) {
  if (function.isExternal() || !function.getBody().hasOneBlock())
    return failAt(function, "@" + function.getName() + " needs a body of one block");
  if (arguments.size() != function.getNumArguments())
    return failAt(function, "@" + function.getName() + " takes " + Twine(function.getNumArguments()) + " arguments");
  for (auto [i, value] : llvm::enumerate(arguments))
    if (!conforms<T>(*value, function.getArgumentTypes()[i]))
      return failAt(function, "argument " + Twine(i) + " of @" + function.getName() + " does not have its type");
  Frame<T> frame(*this);
  return frame.runBlock(function.getBody().front(), arguments);
}

template <typename T>
llvm::Expected<SmallVector<ValueRef<T>>> Interpreter<T>::call(StringRef name, ArrayRef<ValueRef<T>> arguments) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function)
    return failAt(module, "there is no function @" + name);
  workLeft = limits.work;
  depth = 0;
  return callFunction(function, arguments);
}

template class Frame<float>;
template class Frame<double>;
template class Interpreter<float>;
template class Interpreter<double>;

} // namespace mlc::reference
