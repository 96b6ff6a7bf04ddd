//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Reference/EvaluateOps.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace mlc::reference {

template <typename T> DenseElementsAttr attributeOf(const HostValue<T> &value, Type element) {
  auto shape = std::visit(
      [](const auto &held) -> ArrayRef<int64_t> {
        if constexpr (requires { held.shape; })
          return held.shape;
        return {};
      },
      value);
  auto type = RankedTensorType::get(shape, element);
  if (auto *floats = std::get_if<Floats<T>>(&value)) {
    if constexpr (std::is_same_v<T, float>)
      if (element.isF32())
        return DenseElementsAttr::get(type, ArrayRef<float>(floats->data));
    SmallVector<APFloat> values;
    for (T x : floats->data) {
      APFloat converted(x);
      bool inexact;
      converted.convert(cast<FloatType>(element).getFloatSemantics(), APFloat::rmNearestTiesToEven, &inexact);
      values.push_back(converted);
    }
    return DenseElementsAttr::get(type, values);
  }
  SmallVector<APInt> values;
  for (int64_t x : std::get<Integers>(value).data)
    values.push_back(APInt(64, uint64_t(x)).trunc(element.getIntOrFloatBitWidth()));
  return DenseElementsAttr::get(type, values);
}
template DenseElementsAttr attributeOf<float>(const HostValue<float> &, Type);
template DenseElementsAttr attributeOf<double>(const HostValue<double> &, Type);

template <typename T>
llvm::Expected<SmallVector<DenseElementsAttr>> evaluateOps(ArrayRef<Operation *> leaves, ArrayRef<Operation *> ops,
                                                           ArrayRef<Value> values, WeightSource &weights,
                                                           DeclareWeight declare, Limits &limits) {
  OpBuilder builder(values.front().getContext());
  Location unknown = builder.getUnknownLoc();
  OwningOpRef<ModuleOp> scratch = ModuleOp::create(unknown);
  builder.setInsertionPointToStart(scratch->getBody());
  llvm::StringSet<> declared;
  for (Operation *leaf : leaves)
    if (auto read = dyn_cast<graph::ReadOp>(leaf); read && declared.insert(read.getWeight()).second)
      declare(builder, read);
  SmallVector<Type> types(llvm::map_range(values, [](Value value) { return value.getType(); }));
  auto function = builder.create<func::FuncOp>(unknown, "fold", builder.getFunctionType({}, types));
  builder.setInsertionPointToStart(function.addEntryBlock());
  IRMapping mapping;
  for (Operation *leaf : leaves)
    builder.clone(*leaf, mapping);
  for (Operation *op : ops)
    builder.clone(*op, mapping);
  SmallVector<Value> results(llvm::map_range(values, [&](Value value) { return mapping.lookup(value); }));
  builder.create<func::ReturnOp>(unknown, results);

  // What does not verify is for the owner of the ops to say.
  ScopedDiagnosticHandler silent(builder.getContext(), [](Diagnostic &) { return success(); });
  if (failed(verify(*scratch)))
    return llvm::createStringError("what is to be computed does not verify");
  Interpreter<T> interpreter(*scratch, weights, limits);
  auto computed = interpreter.call("fold", {});
  limits.work = interpreter.remainingWork();
  if (!computed)
    return computed.takeError();
  SmallVector<DenseElementsAttr> attributes;
  for (auto [value, result] : llvm::zip_equal(values, *computed))
    attributes.push_back(attributeOf<T>(*result, cast<RankedTensorType>(value.getType()).getElementType()));
  return attributes;
}

template llvm::Expected<SmallVector<DenseElementsAttr>> evaluateOps<float>(ArrayRef<Operation *>, ArrayRef<Operation *>,
                                                                           ArrayRef<Value>, WeightSource &,
                                                                           DeclareWeight, Limits &);
template llvm::Expected<SmallVector<DenseElementsAttr>> evaluateOps<double>(ArrayRef<Operation *>,
                                                                            ArrayRef<Operation *>, ArrayRef<Value>,
                                                                            WeightSource &, DeclareWeight, Limits &);

} // namespace mlc::reference
