//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/LowerRegion.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Index/IR/IndexDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Transforms/DialectConversion.h"

using namespace mlir;
using namespace mlc;

void mlc::registerRegionDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect, LLVM::LLVMDialect,
                  linalg::LinalgDialect, math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                  tensor::TensorDialect, vector::VectorDialect, affine::AffineDialect, index::IndexDialect>();
}

namespace {

/// Builds the two functions: one row of all buffers, whose pointers are noalias so that its loop vectorizes, and the
/// entry, which calls it for each row.
class RegionBuilder {
public:
  RegionBuilder(linalg::GenericOp region, ModuleOp module)
      : region(region), builder(OpBuilder::atBlockEnd(module.getBody())), location(region.getLoc()),
        inputs(region.getNumDpsInputs()), buffers(inputs + region.getNumDpsInits()),
        pointer(LLVM::LLVMPointerType::get(builder.getContext())), i64(builder.getI64Type()) {}

  void build() {
    LLVM::LLVMFuncOp row = buildRow();
    buildEntry(row);
  }

private:
  Value constant(int64_t value) { return builder.create<LLVM::ConstantOp>(location, i64, value); }
  Value element(Value base, Value index, Type type) {
    return builder.create<LLVM::GEPOp>(location, pointer, type, base, ArrayRef<LLVM::GEPArg>{index});
  }
  Value load(Value base, int64_t index, Type type) {
    return builder.create<LLVM::LoadOp>(location, type, element(base, constant(index), type));
  }

  LLVM::LLVMFuncOp buildRow() {
    SmallVector<Type> arguments(buffers, pointer);
    arguments.push_back(i64);
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(builder.getContext()), arguments);
    auto function = builder.create<LLVM::LLVMFuncOp>(location, kRegionRow, type, LLVM::Linkage::Internal);
    for (unsigned i = 0; i < buffers; ++i)
      function.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), builder.getUnitAttr());
    OpBuilder::InsertionGuard guard(builder);
    Block *entry = function.addEntryBlock(builder);
    builder.setInsertionPointToStart(entry);
    auto loop = builder.create<scf::ForOp>(location, constant(0), entry->getArguments().back(), constant(1));
    builder.create<LLVM::ReturnOp>(location, ValueRange());
    builder.setInsertionPoint(loop.getBody()->getTerminator());
    Type f32 = builder.getF32Type();
    auto place = [&](unsigned buffer) { return element(entry->getArgument(buffer), loop.getInductionVar(), f32); };
    IRMapping scalars;
    for (unsigned i = 0; i < inputs; ++i)
      scalars.map(region.getBlock()->getArgument(i), builder.create<LLVM::LoadOp>(location, f32, place(i)).getResult());
    for (Operation &op : region.getBlock()->without_terminator())
      builder.clone(op, scalars);
    for (auto [i, value] : llvm::enumerate(region.getBlock()->getTerminator()->getOperands()))
      builder.create<LLVM::StoreOp>(location, scalars.lookupOrDefault(value), place(inputs + i));
    return function;
  }

  void buildEntry(LLVM::LLVMFuncOp row) {
    auto type = LLVM::LLVMFunctionType::get(builder.getI32Type(), {pointer, pointer, i64, i64});
    auto function = builder.create<LLVM::LLVMFuncOp>(location, kRegionEntry, type);
    Block *entry = function.addEntryBlock(builder);
    builder.setInsertionPointToStart(entry);
    Value columns = load(entry->getArgument(1), 0, i64);
    SmallVector<Value> bases, strides;
    for (unsigned i = 0; i < buffers; ++i) {
      bases.push_back(load(entry->getArgument(0), i, pointer));
      strides.push_back(load(entry->getArgument(1), i + 1, i64));
    }
    auto loop = builder.create<scf::ForOp>(location, entry->getArgument(2), entry->getArgument(3), constant(1));
    Value status = builder.create<LLVM::ConstantOp>(location, builder.getI32Type(), 0);
    builder.create<LLVM::ReturnOp>(location, status);
    builder.setInsertionPoint(loop.getBody()->getTerminator());
    SmallVector<Value> operands;
    for (auto [base, stride] : llvm::zip(bases, strides))
      operands.push_back(
          element(base, builder.create<LLVM::MulOp>(location, loop.getInductionVar(), stride), builder.getF32Type()));
    operands.push_back(columns);
    builder.create<LLVM::CallOp>(location, row, operands);
  }

  linalg::GenericOp region;
  OpBuilder builder;
  Location location;
  unsigned inputs, buffers;
  Type pointer, i64;
};

LogicalResult convertToLLVM(ModuleOp module) {
  MLIRContext *context = module.getContext();
  LLVMTypeConverter types(context);
  RewritePatternSet patterns(context);
  populateSCFToControlFlowConversionPatterns(patterns);
  mlir::cf::populateControlFlowToLLVMConversionPatterns(types, patterns);
  arith::populateArithToLLVMConversionPatterns(types, patterns);
  populateMathToLLVMConversionPatterns(types, patterns);
  LLVMConversionTarget target(*context);
  target.addLegalOp<ModuleOp>();
  return applyFullConversion(module, target, std::move(patterns));
}

} // namespace

linalg::GenericOp mlc::elementwiseRegion(ModuleOp text) {
  linalg::GenericOp region;
  text.walk([&](linalg::GenericOp op) { region = op; });
  return region;
}

llvm::Expected<OwningOpRef<ModuleOp>> mlc::lowerRegion(StringRef source, MLIRContext &context, LevelTraits traits) {
  FirstDiagnostic diagnostic(context);
  OwningOpRef<ModuleOp> text = parseSourceString<ModuleOp>(source, ParserConfig(&context));
  if (!text)
    return diagnostic.error();
  if (text->lookupSymbol<func::FuncOp>(kRegionRow)) {
    if (failed(lowerNest(*text, traits)))
      return diagnostic.error();
    return text;
  }
  linalg::GenericOp region = elementwiseRegion(*text);
  if (!region)
    return llvm::createStringError("a region without a linalg.generic");
  OwningOpRef<ModuleOp> module = ModuleOp::create(region.getLoc());
  RegionBuilder(region, *module).build();
  if (failed(expandMath(*module, traits)) || failed(convertToLLVM(*module)))
    return diagnostic.error();
  return module;
}
