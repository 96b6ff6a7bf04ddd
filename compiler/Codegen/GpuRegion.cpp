//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/GpuRegion.h"

#include "compiler/Codegen/Generator.h"
#include "compiler/Codegen/LowerRegion.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/GPUToNVVM/GPUToNVVMPass.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/DialectConversion.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Intrinsics.h"

using namespace mlir;
using namespace mlc;

// What a GPU of compute capability 8.0 has instructions for.
static constexpr LevelTraits kTraits{/*fma=*/true, /*rounding=*/true, /*half=*/true, /*floats=*/1, /*registers=*/32};

/// A kernel of `region` at the end of `module`.
static void buildKernel(StringRef name, linalg::GenericOp region, gpu::GPUModuleOp module) {
  ImplicitLocOpBuilder b(region.getLoc(), module.getContext());
  b.setInsertionPoint(module.getBody()->getTerminator());
  unsigned inputs = region.getNumDpsInputs(), buffers = inputs + region.getNumDpsInits();
  Type i64 = b.getI64Type(), f32 = b.getF32Type(), pointer = LLVM::LLVMPointerType::get(b.getContext(), 1);
  SmallVector<Type> arguments(buffers, pointer);
  arguments.append(buffers + 2, i64);
  auto kernel = b.create<gpu::GPUFuncOp>(name, b.getFunctionType(arguments, {}));
  kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
  Block &entry = kernel.getBody().front();
  b.setInsertionPointToEnd(&entry);
  ValueRange bases = entry.getArguments().take_front(buffers), dims = entry.getArguments().drop_front(buffers);
  auto position = [&](gpu::Dimension dimension) -> Value {
    Value block = b.create<gpu::BlockIdOp>(dimension), threads = b.create<gpu::BlockDimOp>(dimension);
    Value thread = b.create<gpu::ThreadIdOp>(dimension);
    Value sum = b.create<arith::AddIOp>(b.create<arith::MulIOp>(block, threads), thread);
    return b.create<arith::IndexCastOp>(i64, sum);
  };
  Value column = position(gpu::Dimension::x), row = position(gpu::Dimension::y);
  auto below = [&](Value value, Value bound) {
    return b.create<arith::CmpIOp>(arith::CmpIPredicate::slt, value, bound);
  };
  Value inside = b.create<arith::AndIOp>(below(column, dims.front()), below(row, dims.back()));
  auto guarded = b.create<scf::IfOp>(inside, /*withElseRegion=*/false);
  b.create<gpu::ReturnOp>();
  b.setInsertionPointToStart(guarded.thenBlock());
  auto place = [&](unsigned buffer) -> Value {
    Value at = b.create<arith::AddIOp>(b.create<arith::MulIOp>(row, dims[1 + buffer]), column);
    return b.create<LLVM::GEPOp>(pointer, f32, bases[buffer], ArrayRef<LLVM::GEPArg>{at});
  };
  IRMapping scalars;
  for (unsigned i = 0; i < inputs; ++i)
    scalars.map(region.getBlock()->getArgument(i), b.create<LLVM::LoadOp>(f32, place(i)).getResult());
  for (Operation &op : region.getBlock()->without_terminator())
    b.clone(op, scalars);
  for (auto [i, value] : llvm::enumerate(region.getBlock()->getTerminator()->getOperands()))
    b.create<LLVM::StoreOp>(scalars.lookupOrDefault(value), place(inputs + i));
}

/// gpu and arith to nvvm and llvm.
static LogicalResult convertToNvvm(ModuleOp module) {
  MLIRContext *context = module.getContext();
  LLVMTypeConverter types(context);
  {
    // Before the gpu dialect's patterns, which would call libdevice.
    RewritePatternSet patterns(context);
    populateSCFToControlFlowConversionPatterns(patterns);
    populateMathToLLVMConversionPatterns(types, patterns);
    ConversionTarget target(*context);
    target.addIllegalDialect<math::MathDialect, scf::SCFDialect>();
    target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    if (failed(applyPartialConversion(module, target, std::move(patterns))))
      return failure();
  }
  RewritePatternSet patterns(context);
  populateGpuToNVVMConversionPatterns(types, patterns);
  arith::populateArithToLLVMConversionPatterns(types, patterns);
  mlir::cf::populateControlFlowToLLVMConversionPatterns(types, patterns);
  ConversionTarget target(*context);
  target.addLegalDialect<LLVM::LLVMDialect, NVVM::NVVMDialect>();
  target.addLegalOp<ModuleOp, gpu::GPUModuleOp, gpu::ModuleEndOp>();
  return applyFullConversion(module, target, std::move(patterns));
}

/// What NVPTX has an instruction for: of anything else the code generator would make a call, and end the process.
static bool isInline(llvm::Intrinsic::ID id) {
  switch (id) {
  case llvm::Intrinsic::fma:
  case llvm::Intrinsic::fabs:
  case llvm::Intrinsic::floor:
  case llvm::Intrinsic::ceil:
  case llvm::Intrinsic::trunc:
  case llvm::Intrinsic::rint:
  case llvm::Intrinsic::round:
  case llvm::Intrinsic::roundeven:
  case llvm::Intrinsic::sqrt:
  case llvm::Intrinsic::copysign:
  case llvm::Intrinsic::minnum:
  case llvm::Intrinsic::maxnum:
  case llvm::Intrinsic::abs:
  case llvm::Intrinsic::smin:
  case llvm::Intrinsic::smax:
  case llvm::Intrinsic::umin:
  case llvm::Intrinsic::umax:
  case llvm::Intrinsic::fshl:
  case llvm::Intrinsic::fshr:
  case llvm::Intrinsic::ctlz:
  case llvm::Intrinsic::cttz:
  case llvm::Intrinsic::ctpop:
  case llvm::Intrinsic::assume:
    return true;
  default:
    return llvm::Intrinsic::getBaseName(id).starts_with("llvm.nvvm.read.ptx.sreg.");
  }
}

/// Fails with the name of what would become a call, or has no type of the machine.
static llvm::Error checkInline(const llvm::Module &module) {
  auto refuse = [](const llvm::Function &function, const llvm::Twine &what) {
    return llvm::createStringError("%s: a region cannot be compiled: %s", function.getName().str().c_str(),
                                   what.str().c_str());
  };
  for (const llvm::Function &function : module)
    for (const llvm::BasicBlock &block : function)
      for (const llvm::Instruction &op : block) {
        if (auto *call = llvm::dyn_cast<llvm::CallBase>(&op))
          if (const llvm::Function *callee = call->getCalledFunction();
              !callee || !callee->isIntrinsic() || !isInline(callee->getIntrinsicID()))
            return refuse(function, (callee ? callee->getName() : "a call") + " has no inline form");
        if (op.getOpcode() == llvm::Instruction::FRem)
          return refuse(function, "frem has no exact inline form");
        if (op.getType()->isIntegerTy() && op.getType()->getIntegerBitWidth() > 64)
          return refuse(function, "integers of more than 64 bits");
      }
  return llvm::Error::success();
}

llvm::Expected<std::string> mlc::compileGpuRegions(ArrayRef<GpuRegion> regions) {
  llvm::TargetOptions options;
  // Without: ptxas may contract what has no rounding in its name.
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  auto generator = Generator::create(kGpuTriple, "sm_80", "+ptx70", options, llvm::CodeModel::Small);
  if (!generator)
    return generator.takeError();
  DialectRegistry registry;
  registerRegionDialects(registry);
  registry.insert<gpu::GPUDialect, NVVM::NVVMDialect>();
  registerBuiltinDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
  MLIRContext mlirContext(registry, MLIRContext::Threading::DISABLED);
  mlirContext.loadAllAvailableDialects();
  FirstDiagnostic diagnostic(mlirContext);
  OpBuilder builder(&mlirContext);
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getUnknownLoc());
  builder.setInsertionPointToEnd(module->getBody());
  auto kernels = builder.create<gpu::GPUModuleOp>(builder.getUnknownLoc(), "regions");
  for (const GpuRegion &region : regions) {
    OwningOpRef<ModuleOp> text = parseSourceString<ModuleOp>(region.source, ParserConfig(&mlirContext));
    if (!text)
      return diagnostic.error();
    linalg::GenericOp generic = elementwiseRegion(*text);
    if (!generic)
      return llvm::createStringError("%s: a region without a linalg.generic", region.name.str().c_str());
    buildKernel(region.name, generic, kernels);
  }
  if (failed(expandMath(*module, kTraits)) || failed(convertToNvvm(*module)))
    return diagnostic.error();
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(kernels, context, "regions");
  if (!code)
    return llvm::createStringError("a region cannot be compiled: its LLVM form is not valid");
  generator->prepare(*code);
  for (llvm::Function &function : *code)
    for (llvm::Argument &argument : function.args())
      if (!function.isDeclaration() && argument.getType()->isPointerTy())
        argument.addAttr(llvm::Attribute::NoAlias);
  generator->optimize(*code);
  if (llvm::Error error = checkInline(*code))
    return std::move(error);
  auto text = generator->emit(*code, llvm::CodeGenFileType::AssemblyFile);
  if (!text)
    return text.takeError();
  return std::string(text->begin(), text->end());
}
