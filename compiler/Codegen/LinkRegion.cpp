//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/LowerRegion.h"

#include "lld/Common/Driver.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

LLD_HAS_DRIVER(elf)

using namespace mlc;
using llvm::object::ELFObjectFileBase;

/// Code first, its constants behind it; whatever else an object holds is refused before.
static constexpr llvm::StringLiteral kScript = R"(SECTIONS {
  . = 0;
  .text : { *(.text .text.*) *(.rodata .rodata.*) }
  /DISCARD/ : { *(.comment) *(.note.*) *(.eh_frame) *(.ARM.exidx*) *(.llvm_addrsig) }
}
)";

/// Whether a relocation is a distance inside the blob, which holds wherever that is mapped.
static bool isDistance(unsigned machine, uint64_t type) {
  using namespace llvm::ELF;
  if (machine == EM_X86_64)
    return type == R_X86_64_PC32 || type == R_X86_64_PLT32;
  if (machine == EM_ARM)
    return type == R_ARM_REL32 || type == R_ARM_LDR_PC_G0 || type == R_ARM_MOVW_PREL_NC || type == R_ARM_MOVT_PREL ||
           type == R_ARM_CALL || type == R_ARM_JUMP24;
  return type == R_AARCH64_ADR_PREL_LO21 || type == R_AARCH64_LD_PREL_LO19 || type == R_AARCH64_PREL32 ||
         type == R_AARCH64_CALL26 || type == R_AARCH64_JUMP26 || type == R_AARCH64_CONDBR19;
}

/// Tables for unwinding, which never happens here.
static bool isUnwindTable(llvm::StringRef section) {
  return section == ".eh_frame" || section.starts_with(".ARM.exidx");
}

/// Refuses an object that would need anything beside its own code and constants, or whose entry is not its first byte.
static llvm::Error checkObject(const ELFObjectFileBase &object) {
  for (const llvm::object::ELFSymbolRef &symbol : object.symbols()) {
    auto flags = symbol.getFlags();
    if (!flags)
      return flags.takeError();
    auto name = symbol.getName();
    if (!name)
      return name.takeError();
    auto address = symbol.getAddress();
    if (*name == kRegionEntry && (!address || *address))
      return llvm::createStringError("a region's entry is not its first byte");
    if ((*flags & llvm::object::SymbolRef::SF_Undefined) && !name->empty())
      return llvm::createStringError("a region needs %s, which has no inline form; write it with other ops",
                                     name->str().c_str());
  }
  for (const llvm::object::ELFSectionRef section : object.sections()) {
    auto name = section.getName();
    if (!name)
      return name.takeError();
    bool kept = name->starts_with(".text") || name->starts_with(".rodata");
    if (!kept && (section.getFlags() & llvm::ELF::SHF_ALLOC) && section.getSize() && !isUnwindTable(*name))
      return llvm::createStringError("a region's object has a section %s beside code and constants",
                                     name->str().c_str());
    auto relocated = section.getRelocatedSection();
    if (!relocated)
      return relocated.takeError();
    if (*relocated == object.section_end())
      continue;
    auto target = (*relocated)->getName();
    if (!target)
      return target.takeError();
    if (isUnwindTable(*target))
      continue;
    for (const llvm::object::ELFRelocationRef relocation : section.relocations()) {
      llvm::SmallString<32> type;
      relocation.getTypeName(type);
      if (!isDistance(object.getEMachine(), relocation.getType()))
        return llvm::createStringError("a region's object depends on its address (%s)", type.c_str());
    }
  }
  return llvm::Error::success();
}

namespace {
/// A file that lives as long as this.
class TemporaryFile {
public:
  static llvm::Expected<TemporaryFile> create(llvm::StringRef suffix, llvm::StringRef content) {
    TemporaryFile file;
    int descriptor;
    if (std::error_code code = llvm::sys::fs::createTemporaryFile("mlc-region", suffix, descriptor, file.path))
      return llvm::createStringError("cannot make a temporary file: %s", code.message().c_str());
    file.remover = std::make_unique<llvm::FileRemover>(file.path);
    llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    stream << content;
    stream.flush();
    if (!stream.has_error())
      return file;
    std::string reason = stream.error().message();
    stream.clear_error();
    return llvm::createStringError("%s: %s", file.path.c_str(), reason.c_str());
  }

  llvm::SmallString<128> path;

private:
  std::unique_ptr<llvm::FileRemover> remover;
};
} // namespace

llvm::Expected<std::vector<uint8_t>> mlc::linkRegion(llvm::ArrayRef<char> bytes) {
  auto parsed = llvm::object::ObjectFile::createELFObjectFile(
      llvm::MemoryBufferRef(llvm::StringRef(bytes.data(), bytes.size()), "region"));
  if (!parsed)
    return parsed.takeError();
  if (llvm::Error error = checkObject(*llvm::cast<ELFObjectFileBase>(parsed->get())))
    return error;

  auto object = TemporaryFile::create("o", llvm::StringRef(bytes.data(), bytes.size()));
  if (!object)
    return object.takeError();
  auto script = TemporaryFile::create("ld", kScript);
  if (!script)
    return script.takeError();
  auto output = TemporaryFile::create("bin", "");
  if (!output)
    return output.takeError();
  std::string entry = kRegionEntry.str(), messages;
  const char *arguments[] = {"ld.lld",
                             "--oformat=binary",
                             "--build-id=none",
                             "--threads=1",
                             "--fatal-warnings",
                             "-e",
                             entry.c_str(),
                             "-T",
                             script->path.c_str(),
                             "-o",
                             output->path.c_str(),
                             object->path.c_str()};
  llvm::raw_string_ostream stream(messages);
  lld::Result result = lld::lldMain(arguments, llvm::nulls(), stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode)
    return llvm::createStringError("a region's object cannot be linked: %s",
                                   llvm::StringRef(messages).split('\n').first.str().c_str());
  auto linked = llvm::MemoryBuffer::getFile(output->path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!linked)
    return llvm::createStringError("%s: %s", output->path.c_str(), linked.getError().message().c_str());
  std::vector<uint8_t> blob((*linked)->getBufferStart(), (*linked)->getBufferEnd());
  if (blob.empty())
    return llvm::createStringError("a region's object holds no code");
  return blob;
}
