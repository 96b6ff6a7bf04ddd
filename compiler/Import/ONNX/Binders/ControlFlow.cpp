//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// If: the branch alone where the condition is constant.
//
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace mlc::onnx {

static void bindIf(Node &n) {
  Emitter &e = n.e;
  OpBuilder &b = e.builder;
  Tensor condition = n.in(0);
  const ::onnx::GraphProto *branches[] = {n.graphAttr("then_branch"), n.graphAttr("else_branch")};
  if (!condition)
    return;
  if (!branches[0] || !branches[1])
    return n.fail("needs then_branch and else_branch");
  if (!condition.dtype().isBool())
    return n.fail("has a condition that is not bool");
  if (std::optional<Ints> value = n.importer.constantInts(condition)) {
    if (value->size() != 1)
      return n.fail("has a condition of more than one value");
    if (auto results = n.importer.importSubgraph(*branches[value->front() ? 0 : 1], n.scope, {}))
      n.give(*results);
    return;
  }
  condition = e.reshape(condition, {});
  if (!condition)
    return;
  Value flag = b.create<tensor::ExtractOp>(e.loc, condition.value, ValueRange());
  // Each branch is written into a region of its own, then the op takes both.
  Region regions[2];
  SmallVector<Tensor> results[2];
  for (int i = 0; i < 2; ++i) {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&regions[i]);
    auto imported = n.importer.importSubgraph(*branches[i], n.scope, {});
    if (!imported)
      return;
    results[i] = std::move(*imported);
    SmallVector<Value> values;
    for (const Tensor &result : results[i])
      values.push_back(result.value);
    b.create<scf::YieldOp>(e.loc, values);
  }
  bool same = results[0].size() == results[1].size();
  for (size_t i = 0; same && i < results[0].size(); ++i)
    same = results[0][i].shape == results[1][i].shape && results[0][i].dtype() == results[1][i].dtype();
  if (!same)
    return n.fail("has branches whose results differ in type or shape, and a condition that is known at run time only");
  SmallVector<Type> types;
  for (const Tensor &result : results[0])
    types.push_back(result.value.getType());
  auto op = b.create<scf::IfOp>(e.loc, types, flag, /*addThenBlock=*/false, /*addElseBlock=*/false);
  op.getThenRegion().takeBody(regions[0]);
  op.getElseRegion().takeBody(regions[1]);
  for (auto [i, result] : llvm::enumerate(results[0]))
    n.give(e.like(result, op.getResult(i)));
}

void addControlFlow(BinderTable &table) { table["If"] = bindIf; }

} // namespace mlc::onnx
