//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/Generator.h"

#include "llvm/IR/LegacyPassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"

using namespace mlc;

static void initializeTargets() {
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
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
}

llvm::Expected<Generator> Generator::create(llvm::StringRef triple, llvm::StringRef cpu, llvm::StringRef features,
                                            const llvm::TargetOptions &options, llvm::CodeModel::Model codeModel) {
  initializeTargets();
  std::string reason;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple.str(), reason);
  if (!target)
    return llvm::createStringError("no code generator: %s", reason.c_str());
  Generator made;
  made.machine.reset(target->createTargetMachine(triple, cpu, features, options, llvm::Reloc::PIC_, codeModel,
                                                 llvm::CodeGenOptLevel::Aggressive));
  made.library = std::make_unique<llvm::TargetLibraryInfoImpl>(llvm::Triple(triple));
  made.library->disableAllFunctions();
  return made;
}

void Generator::prepare(llvm::Module &module) const {
  module.setTargetTriple(machine->getTargetTriple().str());
  module.setDataLayout(machine->createDataLayout());
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr(llvm::Attribute::NoUnwind);
    function.addFnAttr("no-builtins");
    function.addFnAttr("target-cpu", machine->getTargetCPU());
    function.addFnAttr("target-features", machine->getTargetFeatureString());
    function.setDSOLocal(true);
  }
}

void Generator::optimize(llvm::Module &module) const {
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

llvm::Expected<llvm::SmallVector<char, 0>> Generator::emit(llvm::Module &module, llvm::CodeGenFileType type) const {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  passes.add(new llvm::TargetLibraryInfoWrapperPass(*library));
  if (machine->addPassesToEmitFile(passes, stream, nullptr, type))
    return llvm::createStringError("the code generator of %s writes no such file", triple().str().c_str());
  passes.run(module);
  return bytes;
}
