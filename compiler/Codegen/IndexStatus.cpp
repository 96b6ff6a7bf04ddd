//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/IndexStatus.h"
#include "runtime/artifact/CodeStatus.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlc;

/// The index that `op` asserts to be inside, as the network gave it; null when it asserts something else.
static Value indexOf(cf::AssertOp op) {
  auto compare = op.getArg().getDefiningOp<arith::CmpIOp>();
  if (!compare || compare.getPredicate() != arith::CmpIPredicate::ult)
    return {};
  // A negative one was counted from the end.
  auto select = compare.getLhs().getDefiningOp<arith::SelectOp>();
  auto sum = select ? select.getTrueValue().getDefiningOp<arith::AddIOp>() : arith::AddIOp();
  return sum && sum.getLhs() == select.getFalseValue() ? select.getFalseValue() : compare.getLhs();
}

LogicalResult mlc::lowerIndexChecks(func::FuncOp function) {
  SmallVector<cf::AssertOp> asserts;
  function.walk([&](cf::AssertOp op) { asserts.push_back(op); });
  if (asserts.empty())
    return success();
  auto end = cast<func::ReturnOp>(function.getBody().front().getTerminator());
  ImplicitLocOpBuilder b(function.getLoc(), end);
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  auto number = [&](int64_t value) -> Value { return b.create<arith::ConstantIntOp>(value, i64); };
  // The largest status: it stays in a register, and loops with a maximum are vectorized.
  b.setInsertionPointToStart(&function.getBody().front());
  Value none = b.create<arith::ConstantIntOp>(0, i32), place = b.create<memref::AllocaOp>(MemRefType::get({}, i32));
  b.create<memref::StoreOp>(none, place);
  for (cf::AssertOp op : asserts) {
    Value index = indexOf(op);
    if (!index)
      return op.emitError("is no check of an index");
    b.setInsertionPoint(op);
    if (index.getType() != i64)
      index = b.create<arith::IndexCastOp>(i64, index);
    index = b.create<arith::MinSIOp>(index, number(kMostStatusIndex));
    index = b.create<arith::MaxSIOp>(index, number(-kMostStatusIndex));
    index = b.create<arith::AndIOp>(index, number(kIndexStatus - 1));
    Value status = b.create<arith::TruncIOp>(i32, b.create<arith::OrIOp>(index, number(kIndexStatus)));
    status = b.create<arith::SelectOp>(op.getArg(), none, status);
    b.create<memref::StoreOp>(b.create<arith::MaxSIOp>(b.create<memref::LoadOp>(place), status), place);
    op.erase();
  }
  b.setInsertionPoint(end);
  b.create<func::ReturnOp>(b.create<memref::LoadOp>(place).getResult());
  end.erase();
  function.setFunctionType(b.getFunctionType(function.getArgumentTypes(), i32));
  return success();
}
