//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Compiled regions: exec.code and exec.call_code.
//
#include "compiler/Codegen/RegionCode.h"
#include "compiler/Conversion/GraphToExec/Lowering.h"
#include "compiler/Transforms/ElementwiseOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace mlc;

/// A worker's chunk holds at least as many elements, so that handing it over costs little beside it.
static constexpr int64_t kChunkElements = 8192;

/// The text of a module whose function is `region` over tensors of any size: equal for regions that share code.
static std::string regionSource(linalg::GenericOp region) {
  OpBuilder builder(region.getContext());
  Location location = builder.getUnknownLoc();
  auto type = RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic}, builder.getF32Type());
  SmallVector<Type> inputs(region.getNumDpsInputs(), type), outputs(region.getNumDpsInits(), type);
  OwningOpRef<ModuleOp> module = ModuleOp::create(location);
  builder.setInsertionPointToEnd(module->getBody());
  auto function = builder.create<func::FuncOp>(location, "region", builder.getFunctionType(inputs, outputs));
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToEnd(entry);
  SmallVector<Value> inits(outputs.size(), entry->getArgument(0));
  SmallVector<AffineMap> maps(inputs.size() + outputs.size(), builder.getMultiDimIdentityMap(2));
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  auto copy = builder.create<linalg::GenericOp>(location, outputs, entry->getArguments(), inits, maps, iterators);
  IRMapping mapping;
  region.getRegion().cloneInto(&copy.getRegion(), mapping);
  builder.setInsertionPointToEnd(entry);
  builder.create<func::ReturnOp>(location, copy.getResults());
  // Without locations, which the printer leaves out anyway; names of values are numbers.
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream, OpPrintingFlags().enableDebugInfo(false));
  return text;
}

exec::CodeOp Lowering::code(StringRef source) {
  exec::CodeOp &made = codes[source];
  if (made)
    return made;
  SmallVector<Attribute> objects;
  SmallVector<StringRef> isas;
  for (const std::string &isa : codeTarget.isas) {
    auto blob = compileRegion(source, codeTarget.triple, isa);
    if (!blob) {
      current->emitOpError(llvm::toString(blob.takeError()));
      return {};
    }
    objects.push_back(builder.getDenseI8ArrayAttr({reinterpret_cast<const int8_t *>(blob->data()), blob->size()}));
    isas.push_back(isa);
  }
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(function());
  std::string name;
  for (unsigned number = codes.size() - 1; name.empty() || SymbolTable::lookupSymbolIn(graph, name); ++number)
    name = "region_" + std::to_string(number);
  return made = builder.create<exec::CodeOp>(location, name, codeTarget.triple, builder.getStrArrayAttr(isas),
                                             builder.getArrayAttr(objects), builder.getStringAttr(source));
}

/// Elements from one row of `buffer` to the next; of a vector: its length.
static int64_t rowStride(Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  if (type.getRank() < 2 || failed(getStridesAndOffset(type, strides, offset)))
    return type.getShape().back();
  return strides.front();
}

LogicalResult mlc::lowerRegion(Lowering &lowering, Operation *op) {
  auto region = cast<linalg::GenericOp>(op);
  if (!region->hasAttr(graph::kRegionAttr))
    return op->emitOpError("is not lowered; run graph-outline-elementwise first");
  SmallVector<Value> buffers;
  for (Value input : region.getDpsInputs())
    buffers.push_back(lowering.buffer(input));
  for (Value result : region.getResults()) {
    buffers.push_back(lowering.newSlot(result));
    if (!buffers.back())
      return failure();
  }
  // The runtime calls code with at most as many buffers and dims.
  constexpr size_t kMaxBuffers = 31;
  if (buffers.size() > kMaxBuffers)
    return op->emitOpError("reads and writes ") << buffers.size() << " tensors, at most " << kMaxBuffers;
  FailureOr<ArrayRef<Attribute>> axes = lowering.extents.dims(region.getResult(0));
  exec::CodeOp code = failed(axes) ? exec::CodeOp() : lowering.code(regionSource(region));
  if (!code)
    return failure();
  OpBuilder &builder = lowering.builder;
  int64_t columns = cast<RankedTensorType>(region.getResult(0).getType()).getShape().back();
  SmallVector<int64_t> dims{columns};
  for (Value buffer : buffers)
    dims.push_back(rowStride(buffer));
  Attribute rows = axes->size() == 2 ? axes->front() : builder.getI64IntegerAttr(1);
  builder.create<exec::CallCodeOp>(lowering.location, code.getSymName(), buffers, builder.getI64ArrayAttr(dims), rows,
                                   std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, columns)));
  return success();
}
