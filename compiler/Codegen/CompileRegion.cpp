//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/Generator.h"
#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/RegionCode.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"

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

llvm::Expected<const Level *> findLevel(llvm::StringRef triple, llvm::StringRef isa) {
  for (const Level &level : kLevels)
    if (level.isa == isa && llvm::Triple(triple).getArch() == llvm::Triple(level.triple).getArch())
      return &level;
  return llvm::createStringError("no code is generated for %s of %s", isa.str().c_str(), triple.str().c_str());
}

llvm::Expected<llvm::SmallVector<char, 0>> compile(const Level &level, llvm::StringRef source,
                                                   llvm::CodeGenFileType type) {
  auto generator = Generator::create(level.triple, level.cpu, level.features, llvm::TargetOptions(), level.codeModel);
  if (!generator)
    return generator.takeError();
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
  generator->prepare(*module);
  for (llvm::Function &function : *module) {
    // Left to itself LLVM takes half a vector.
    if (level.traits.floats == 16 && !function.isDeclaration())
      function.addFnAttr("prefer-vector-width", "512");
    if (function.getName() == kRegionRow)
      function.addFnAttr(llvm::Attribute::AlwaysInline);
  }
  if (const llvm::Triple &triple = generator->triple(); !triple.isX86())
    expandWide(*module, triple.isArch32Bit());
  generator->optimize(*module);
  return generator->emit(*module, type);
}

llvm::Expected<llvm::SmallVector<char, 0>> compile(llvm::StringRef source, llvm::StringRef triple, llvm::StringRef isa,
                                                   llvm::CodeGenFileType type) {
  auto level = findLevel(triple, isa);
  if (!level)
    return level.takeError();
  return compile(**level, source, type);
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
