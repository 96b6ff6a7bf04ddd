//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Graph/IR/KernelOps.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlc::graph;

#include "compiler/Dialect/Graph/IR/GraphDialect.cpp.inc"
#include "compiler/Dialect/Graph/IR/GraphEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "compiler/Dialect/Graph/IR/GraphAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "compiler/Dialect/Graph/IR/GraphTypes.cpp.inc"

void GraphDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "compiler/Dialect/Graph/IR/GraphAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "compiler/Dialect/Graph/IR/GraphTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "compiler/Dialect/Graph/IR/GraphOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "compiler/Dialect/Graph/IR/KernelOps.cpp.inc"
      >();
}

LogicalResult GraphDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  if (attribute.getName() == kTapAttr) {
    if (!isa<StringAttr>(attribute.getValue()) || op->getNumResults() == 0)
      return op->emitOpError("graph.tap must be a string on an op with a result");
    return success();
  }
  if (attribute.getName() == kInnerTapsAttr) {
    auto names = dyn_cast<ArrayAttr>(attribute.getValue());
    if (!names || !llvm::all_of(names, llvm::IsaPred<StringAttr>))
      return op->emitOpError("graph.inner_taps must be an array of strings");
    return success();
  }
  return op->emitOpError("unknown attribute ") << attribute.getName() << " of the graph dialect";
}

/// graph.name and graph.unsigned of an argument or a result.
static LogicalResult verifyCallerAttribute(Operation *op, Type type, NamedAttribute attribute) {
  if (attribute.getName() == kNameAttr)
    return isa<StringAttr>(attribute.getValue()) ? success() : op->emitOpError("graph.name must be a string");
  auto shaped = dyn_cast<ShapedType>(type); // A buffer, once bufferized.
  if (isa<UnitAttr>(attribute.getValue()) && shaped && shaped.getElementType().isInteger())
    return success();
  return op->emitOpError("graph.unsigned goes with a tensor of integers and has no value");
}

LogicalResult GraphDialect::verifyRegionResultAttribute(Operation *op, unsigned region, unsigned result,
                                                        NamedAttribute attribute) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function || (attribute.getName() != kNameAttr && attribute.getName() != kUnsignedAttr))
    return op->emitOpError("unknown result attribute ") << attribute.getName() << " of the graph dialect";
  return verifyCallerAttribute(op, function.getResultTypes()[result], attribute);
}

LogicalResult GraphDialect::verifyRegionArgAttribute(Operation *op, unsigned region, unsigned argument,
                                                     NamedAttribute attribute) {
  if (auto function = dyn_cast<FunctionOpInterface>(op);
      function && (attribute.getName() == kNameAttr || attribute.getName() == kUnsignedAttr))
    return verifyCallerAttribute(op, function.getArgumentTypes()[argument], attribute);
  if (attribute.getName() == kCarryAttr)
    return isa<StringAttr>(attribute.getValue()) ? success() : op->emitOpError("graph.carry must be a string");
  if (attribute.getName() != kDimsAttr)
    return op->emitOpError("unknown argument attribute ") << attribute.getName() << " of the graph dialect";
  auto names = dyn_cast<ArrayAttr>(attribute.getValue());
  auto function = dyn_cast<FunctionOpInterface>(op);
  // A buffer once the network has been bufferized.
  auto type = function ? dyn_cast<ShapedType>(function.getArgumentTypes()[argument]) : ShapedType();
  if (!names || !type || !type.hasRank() || int64_t(names.size()) != type.getRank())
    return op->emitOpError("graph.dims must be an array with one string for each axis of a tensor argument");
  for (auto [axis, name] : llvm::enumerate(names)) {
    auto text = dyn_cast<StringAttr>(name);
    if (!text || text.empty() == type.isDynamicDim(axis))
      return op->emitOpError("graph.dims must name an extent for exactly the dynamic axes");
    if (text.empty())
      continue;
    auto extent = SymbolTable::lookupNearestSymbolFrom<ExtentOp>(op, text);
    if (!extent)
      return op->emitOpError("graph.dims names @") << text.getValue() << ", which is no graph.extent";
  }
  return success();
}

LogicalResult QuantAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, unsigned bits, int64_t group,
                                bool asymmetric) {
  if (bits != 4 && bits != 8)
    return emitError() << "bits must be 4 or 8, not " << bits;
  if (group != 32 && group != 64 && group != 128)
    return emitError() << "group must be 32, 64 or 128, not " << group;
  if (asymmetric && bits != 4)
    return emitError() << "only 4-bit weights may be asymmetric";
  return success();
}

int64_t mlc::graph::getColumns(Type type) {
  if (auto quantized = dyn_cast<QuantizedType>(type))
    return quantized.getColumns();
  return cast<RankedTensorType>(type).getShape().back();
}

WeightOp mlc::graph::lookupWeight(Operation *from, FlatSymbolRefAttr name) {
  return SymbolTable::lookupNearestSymbolFrom<WeightOp>(from, name);
}

bool mlc::graph::isRouting(LinearOp linear) {
  return llvm::any_of(linear.getResult().getUses(), [](OpOperand &use) {
    Operation *user = use.getOwner();
    if (auto gather = dyn_cast<GatherRowsOp>(user))
      return llvm::any_of(gather.getResult().getUses(), [](OpOperand &use) {
        return isa<MoeOp, ScaleRowsOp>(use.getOwner()) && use.getOperandNumber() == 1;
      });
    return isa<MoeOp, ScaleRowsOp>(user) && use.getOperandNumber() == 1;
  });
}

static void addInnerTaps(Operation *into, ArrayRef<Attribute> names) {
  SmallVector<Attribute> all;
  if (auto inner = into->getAttrOfType<ArrayAttr>(kInnerTapsAttr))
    llvm::append_range(all, inner);
  llvm::append_range(all, names);
  if (!all.empty())
    into->setAttr(kInnerTapsAttr, ArrayAttr::get(into->getContext(), all));
}

void mlc::graph::takeTaps(Operation *replaced, Operation *into) {
  if (Attribute tap = replaced->getAttr(kTapAttr))
    into->setAttr(kTapAttr, tap);
  if (auto inner = replaced->getAttrOfType<ArrayAttr>(kInnerTapsAttr))
    addInnerTaps(into, inner.getValue());
}

void mlc::graph::swallowTaps(Operation *gone, Operation *into) {
  if (auto inner = gone->getAttrOfType<ArrayAttr>(kInnerTapsAttr))
    addInnerTaps(into, inner.getValue());
  if (Attribute tap = gone->getAttr(kTapAttr))
    addInnerTaps(into, tap);
}
