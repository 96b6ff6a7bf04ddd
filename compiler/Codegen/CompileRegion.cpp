//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/RegionCode.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlc;

namespace {

struct Level {
  llvm::StringLiteral isa, triple, cpu, features;
  llvm::CodeModel::Model codeModel;
  LevelTraits traits;
};

// The tiny model reaches constants by the distance alone, where the small one also needs pages to stay in place.
constexpr Level kLevels[] = {
    {"x86-64-v2", "x86_64-unknown-linux-gnu", "x86-64-v2", "", llvm::CodeModel::Small, {false, true, false, 4, 16}},
    {"x86-64-v3", "x86_64-unknown-linux-gnu", "x86-64-v3", "", llvm::CodeModel::Small, {true, true, true, 8, 16}},
    {"x86-64-v4", "x86_64-unknown-linux-gnu", "x86-64-v4", "", llvm::CodeModel::Small, {true, true, true, 16, 32}},
    {"armv8-a", "aarch64-unknown-linux-gnu", "generic", "+neon", llvm::CodeModel::Tiny, {true, true, true, 4, 32}},
    {"armv7-a",
     "armv7a-unknown-linux-gnueabihf",
     "generic",
     "+neon",
     llvm::CodeModel::Small,
     {false, false, false, 4, 16}},
    {"vfpv4",
     "armv7a-unknown-linux-gnueabihf",
     "generic",
     "+neon,+vfp4",
     llvm::CodeModel::Small,
     {true, false, true, 4, 16}},
};

void initializeTargets() {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMInitializeAArch64TargetInfo();
  LLVMInitializeAArch64Target();
  LLVMInitializeAArch64TargetMC();
  LLVMInitializeAArch64AsmPrinter();
  LLVMInitializeARMTargetInfo();
  LLVMInitializeARMTarget();
  LLVMInitializeARMTargetMC();
  LLVMInitializeARMAsmPrinter();
}

llvm::Expected<const Level *> findLevel(llvm::StringRef triple, llvm::StringRef isa) {
  for (const Level &level : kLevels)
    if (level.isa == isa && llvm::Triple(triple).getArch() == llvm::Triple(level.triple).getArch())
      return &level;
  return llvm::createStringError("no code is generated for %s of %s", isa.str().c_str(), triple.str().c_str());
}

class RegionCompiler {
public:
  explicit RegionCompiler(const Level &level) : level(level) {}

  llvm::Expected<llvm::SmallVector<char, 0>> compile(llvm::StringRef source, llvm::CodeGenFileType type) {
    if (llvm::Error error = createMachine())
      return error;
    mlir::DialectRegistry registry;
    registerRegionDialects(registry);
    mlir::registerBuiltinDialectTranslation(registry);
    mlir::registerLLVMDialectTranslation(registry);
    mlir::MLIRContext mlirContext(registry, mlir::MLIRContext::Threading::DISABLED);
    mlirContext.loadAllAvailableDialects();
    auto lowered = lowerRegion(source, mlirContext, level.traits);
    if (!lowered)
      return lowered.takeError();
    llvm::LLVMContext context;
    std::unique_ptr<llvm::Module> module = mlir::translateModuleToLLVMIR(**lowered, context, "mlc");
    if (!module)
      return llvm::createStringError("a region cannot be compiled: its LLVM form is not valid");
    prepare(*module);
    if (const llvm::Triple &triple = machine->getTargetTriple(); !triple.isX86())
      expandWide(*module, triple.isArch32Bit());
    optimize(*module);
    return emit(*module, type);
  }

private:
  llvm::Error createMachine() {
    std::string reason;
    const llvm::Target *target = llvm::TargetRegistry::lookupTarget(level.triple.str(), reason);
    if (!target)
      return llvm::createStringError("no code generator: %s", reason.c_str());
    llvm::TargetOptions options;
    machine.reset(target->createTargetMachine(level.triple, level.cpu, level.features, options, llvm::Reloc::PIC_,
                                              level.codeModel, llvm::CodeGenOptLevel::Aggressive));
    // Nothing is turned into a call of a library.
    library = std::make_unique<llvm::TargetLibraryInfoImpl>(llvm::Triple(level.triple));
    library->disableAllFunctions();
    return llvm::Error::success();
  }

  void prepare(llvm::Module &module) {
    module.setTargetTriple(level.triple);
    module.setDataLayout(machine->createDataLayout());
    for (llvm::Function &function : module) {
      if (function.isDeclaration())
        continue;
      function.addFnAttr(llvm::Attribute::NoUnwind);
      function.addFnAttr("no-builtins");
      function.addFnAttr("target-cpu", level.cpu);
      function.addFnAttr("target-features", level.features);
      // Left to itself LLVM takes half a vector.
      if (level.traits.floats == 16)
        function.addFnAttr("prefer-vector-width", "512");
      if (function.getName() == kRegionRow)
        function.addFnAttr(llvm::Attribute::AlwaysInline);
      function.setDSOLocal(true);
    }
  }

  void optimize(llvm::Module &module) {
    llvm::LoopAnalysisManager loops;
    llvm::FunctionAnalysisManager functions;
    llvm::CGSCCAnalysisManager graphs;
    llvm::ModuleAnalysisManager modules;
    llvm::PipelineTuningOptions tuning;
    tuning.LoopVectorization = true;
    // A short inner loop would be gone before it is vectorized, and the axis around it taken, with gathers.
    tuning.LoopUnrolling = false;
    llvm::PassBuilder builder(machine.get(), tuning);
    functions.registerPass([&] { return llvm::TargetLibraryAnalysis(*library); });
    builder.registerModuleAnalyses(modules);
    builder.registerCGSCCAnalyses(graphs);
    builder.registerFunctionAnalyses(functions);
    builder.registerLoopAnalyses(loops);
    builder.crossRegisterProxies(loops, functions, graphs, modules);
    builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2).run(module, modules);
  }

  llvm::Expected<llvm::SmallVector<char, 0>> emit(llvm::Module &module, llvm::CodeGenFileType type) {
    llvm::SmallVector<char, 0> bytes;
    llvm::raw_svector_ostream stream(bytes);
    llvm::legacy::PassManager passes;
    passes.add(new llvm::TargetLibraryInfoWrapperPass(*library));
    if (machine->addPassesToEmitFile(passes, stream, nullptr, type))
      return llvm::createStringError("the code generator of %s writes no such file", level.triple.data());
    passes.run(module);
    return bytes;
  }

  const Level &level;
  std::unique_ptr<llvm::TargetMachine> machine;
  std::unique_ptr<llvm::TargetLibraryInfoImpl> library;
};

llvm::Expected<llvm::SmallVector<char, 0>> compile(llvm::StringRef source, llvm::StringRef triple, llvm::StringRef isa,
                                                   llvm::CodeGenFileType type) {
  auto level = findLevel(triple, isa);
  if (!level)
    return level.takeError();
  initializeTargets();
  return RegionCompiler(**level).compile(source, type);
}

} // namespace

llvm::Expected<std::vector<uint8_t>> mlc::compileRegion(llvm::StringRef source, llvm::StringRef triple,
                                                        llvm::StringRef isa) {
  auto object = compile(source, triple, isa, llvm::CodeGenFileType::ObjectFile);
  if (!object)
    return object.takeError();
  return linkRegion(*object);
}

llvm::Expected<std::string> mlc::assembleRegion(llvm::StringRef source, llvm::StringRef triple, llvm::StringRef isa) {
  auto text = compile(source, triple, isa, llvm::CodeGenFileType::AssemblyFile);
  if (!text)
    return text.takeError();
  return std::string(text->begin(), text->end());
}
