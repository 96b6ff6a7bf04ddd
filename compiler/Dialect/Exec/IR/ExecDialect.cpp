//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Exec/IR/Exec.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlc::exec;

#include "compiler/Dialect/Exec/IR/ExecDialect.cpp.inc"
#include "compiler/Dialect/Exec/IR/ExecEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "compiler/Dialect/Exec/IR/ExecAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "compiler/Dialect/Exec/IR/ExecOps.cpp.inc"

void ExecDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "compiler/Dialect/Exec/IR/ExecAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "compiler/Dialect/Exec/IR/ExecOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

int64_t mlc::exec::elementBytes(Type element) { return (element.getIntOrFloatBitWidth() + 7) / 8; }

int64_t mlc::exec::dimBound(Operation *from, Attribute dim) {
  if (auto size = dyn_cast<IntegerAttr>(dim))
    return size.getInt();
  return SymbolTable::lookupNearestSymbolFrom<ExtentOp>(from, cast<StringAttr>(dim)).getBound();
}

int64_t mlc::exec::slotBytes(SlotOp slot) {
  int64_t bytes = elementBytes(cast<MemRefType>(slot.getType()).getElementType());
  for (Attribute dim : slot.getDims())
    bytes *= dimBound(slot, dim);
  return bytes;
}

SlotOp mlc::exec::baseSlot(Value buffer) {
  while (auto view = buffer.getDefiningOp<ViewOp>())
    buffer = view.getSource();
  return buffer.getDefiningOp<SlotOp>();
}

//===----------------------------------------------------------------------===//
// Verifiers
//===----------------------------------------------------------------------===//

LogicalResult ConstantOp::verify() {
  auto type = cast<MemRefType>(getType());
  if (!type.hasStaticShape())
    return emitOpError("needs a static shape");
  if (int(bool(getSources())) + int(bool(getValues())) + int(bool(getElements())) != 1)
    return emitOpError("needs either sources, values or elements");
  if (getSources() && !getWeight() && getSources()->size() != 1)
    return emitOpError("with several sources needs the format they are packed in");
  if (getElements() && (getElements()->getElementType() != type.getElementType() ||
                        getElements()->getNumElements() != type.getNumElements()))
    return emitOpError("elements must fill the type");
  if (getValues() && (!type.getElementType().isF32() || int64_t(getValues()->size()) != type.getNumElements()))
    return emitOpError("values must be f32 and fill the type");
  if (int64_t(getCount()) < 1 || (getCount() > 1 && (!getWeight() || !getSources())))
    return emitOpError("a count is positive, and of matrices that are packed from sources");
  if (getImportance() && (!getWeight() || getImportance()->size() % getCount() != 0 ||
                          int64_t(getImportance()->size() / getCount()) != getWeight()->getK()))
    return emitOpError("importance needs one value for each column of each matrix");
  return success();
}

LogicalResult ExtentOp::verify() {
  if (bool(getRule()) != bool(getLeft()) || bool(getRule()) != bool(getRight()))
    return emitOpError("needs two terms when it has a rule, and only then");
  if (int64_t(getLeast()) > int64_t(getBound()))
    return emitOpError("is at least ") << int64_t(getLeast()) << " and at most " << getBound();
  return success();
}

LogicalResult StateOp::verify() {
  bool kv = getKind() == StateKind::kv;
  if (bool(getKvHeads()) != kv || bool(getHeadDim()) != kv || bool(getWindow()) != kv)
    return emitOpError("needs kv_heads, head_dim and window when it is of kind kv, and only then");
  if (bool(getDims()) == kv || bool(getLogColumns()) == kv || bool(getGroups()) != (getKind() == StateKind::ssm))
    return emitOpError("needs dims and log_columns when it is recurrent, groups when it is of kind ssm, and only then");
  return success();
}

LogicalResult CodeOp::verify() {
  if (isForGpu() && (!getIsas().empty() || !getSource()))
    return emitOpError("of a GPU has no objects of its own, and needs its source");
  if (getIsas().size() != getObjects().size() || (getIsas().empty() && !isForGpu()))
    return emitOpError("needs one object for each isa");
  if (!llvm::all_of(getObjects(), llvm::IsaPred<DenseI8ArrayAttr>))
    return emitOpError("objects must be arrays of bytes");
  return success();
}

LogicalResult SlotOp::verify() {
  auto type = cast<MemRefType>(getType());
  if (int64_t(getDims().size()) != type.getRank() || !type.getLayout().isIdentity())
    return emitOpError("needs a contiguous type and one dim for each of its axes");
  int64_t bytes = elementBytes(type.getElementType());
  for (auto [axis, dim] : llvm::enumerate(getDims())) {
    if (auto size = dyn_cast<IntegerAttr>(dim)) {
      if (size.getInt() < 0 || type.getDimSize(axis) != size.getInt())
        return emitOpError("dim ") << axis << " does not match its type";
    } else {
      auto name = dyn_cast<StringAttr>(dim);
      if (!name || !type.isDynamicDim(axis) || !SymbolTable::lookupNearestSymbolFrom<ExtentOp>(*this, name))
        return emitOpError("dim ") << axis << " must name an exec.extent, on a dynamic axis";
    }
    if (__builtin_mul_overflow(bytes, dimBound(*this, dim), &bytes) || bytes > (int64_t(1) << 48))
      return emitOpError("is absurdly large at its extents' bounds");
  }
  if (getOffset() && int64_t(*getOffset()) < 0)
    return emitOpError("offset must not be negative");
  return success();
}

LogicalResult ViewOp::verify() {
  auto source = cast<MemRefType>(getSource().getType()), result = cast<MemRefType>(getResult().getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  if (source.getRank() < 1 || source.getRank() != result.getRank() ||
      source.getElementType() != result.getElementType() ||
      source.getShape().drop_back() != result.getShape().drop_back() || result.isDynamicDim(result.getRank() - 1))
    return emitOpError("must keep the element type and every axis but the last, which is static");
  if (failed(getStridesAndOffset(result, strides, offset)) || strides.back() != 1)
    return emitOpError("columns must be contiguous");
  int64_t end;
  if (int64_t(getColumn()) < 0 || __builtin_add_overflow(int64_t(getColumn()), result.getShape().back(), &end) ||
      end > source.getShape().back())
    return emitOpError("columns lie outside the source's ") << source.getShape().back();
  return success();
}

LogicalResult LoopOp::verify() {
  if (bool(getTrips()) == bool(getTripCount()))
    return emitOpError("needs either a number of trips or a slot that counts them");
  return success();
}

LogicalResult WeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto constant = symbols.lookupNearestSymbolFrom<ConstantOp>(*this, getConstantAttr());
  if (!constant)
    return emitOpError("names ") << getConstantAttr() << ", which is no exec.constant";
  if (constant.getType() != getResult().getType())
    return emitOpError("must have the constant's type ") << constant.getType();
  return success();
}

LogicalResult KernelOp::verifySymbolUses(SymbolTableCollection &symbols) {
  for (Attribute state : getStates())
    if (!symbols.lookupNearestSymbolFrom<StateOp>(*this, cast<FlatSymbolRefAttr>(state)))
      return emitOpError("names ") << state << ", which is no exec.state";
  for (Value output : getOutputs())
    if (!baseSlot(output))
      return emitOpError("writes to a constant");
  return success();
}

LogicalResult CallCodeOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (!symbols.lookupNearestSymbolFrom<CodeOp>(*this, getCodeAttr()))
    return emitOpError("names ") << getCodeAttr() << ", which is no exec.code";
  if (int64_t(getGrain()) < 1)
    return emitOpError("grain must be positive");
  return success();
}

LogicalResult CarryOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto function = symbols.lookupNearestSymbolFrom<FuncOp>(*this, getFunctionAttr());
  if (!function || !function.getInputNames() || !function.getOutputNames())
    return emitOpError("names ") << getFunctionAttr() << ", which is no exec.func with named ports";
  if (getInput() >= function.getInputNames()->size() || getOutput() >= function.getOutputNames()->size())
    return emitOpError("names a port that ") << getFunctionAttr() << " lacks";
  return success();
}

LogicalResult CallOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (!symbols.lookupNearestSymbolFrom<FuncOp>(*this, getCalleeAttr()))
    return emitOpError("names ") << getCalleeAttr() << ", which is no exec.func";
  return success();
}
