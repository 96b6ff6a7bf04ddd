//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/GpuRegion.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlc;

/// The path of a program, or nothing.
static std::string programAt(llvm::StringRef name) {
  llvm::ErrorOr<std::string> found = llvm::sys::findProgramByName(name);
  // A name with a folder comes back unseen.
  return found && llvm::sys::fs::can_execute(*found) ? *found : std::string();
}

llvm::Expected<std::string> mlc::findPtxas(llvm::StringRef wanted) {
  if (wanted == "none")
    return std::string();
  if (wanted.empty()) {
    llvm::StringRef built = MLC_PTXAS;
    std::string program = built.empty() ? std::string() : programAt(built);
    return program.empty() ? programAt("ptxas") : program;
  }
  if (std::string program = programAt(wanted); !program.empty())
    return program;
  return llvm::createStringError("--ptxas %s: no such program", wanted.str().c_str());
}

namespace {
/// A file that is gone with it.
struct TemporaryFile {
  llvm::SmallString<128> path;
  std::error_code make(llvm::StringRef suffix) {
    return llvm::sys::fs::createTemporaryFile("mlc-region", suffix, path);
  }
  ~TemporaryFile() {
    if (!path.empty())
      llvm::sys::fs::remove(path);
  }
};
} // namespace

llvm::Expected<std::vector<uint8_t>> mlc::assemblePtx(llvm::StringRef ptxas, llvm::StringRef ptx,
                                                      llvm::StringRef arch) {
  TemporaryFile in, out, log;
  for (auto [file, suffix] : {std::pair(&in, "ptx"), std::pair(&out, "cubin"), std::pair(&log, "txt")})
    if (std::error_code code = file->make(suffix))
      return llvm::createStringError("a temporary file: %s", code.message().c_str());
  {
    std::error_code code;
    llvm::raw_fd_ostream stream(in.path, code);
    stream << ptx;
    if (code || (stream.flush(), stream.has_error()))
      return llvm::createStringError("%s: cannot be written", in.path.c_str());
  }
  std::string target = ("-arch=" + arch).str();
  // --fmad: what has no rounding in its name is not contracted either.
  llvm::StringRef arguments[] = {ptxas, target, "--fmad=false", in.path, "-o", out.path};
  std::optional<llvm::StringRef> streams[] = {llvm::StringRef(""), log.path.str(), log.path.str()};
  std::string reason;
  int status = llvm::sys::ExecuteAndWait(ptxas, arguments, std::nullopt, streams, 0, 0, &reason);
  auto bytes = llvm::MemoryBuffer::getFile(out.path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (status || !bytes || (*bytes)->getBufferSize() == 0) {
    if (auto said = llvm::MemoryBuffer::getFile(log.path); said && reason.empty())
      reason = (*said)->getBuffer().trim().split('\n').first.str();
    return llvm::createStringError("%s for %s: %s; --ptxas none leaves it to the driver", ptxas.str().c_str(),
                                   arch.str().c_str(), reason.c_str());
  }
  return std::vector<uint8_t>((*bytes)->getBufferStart(), (*bytes)->getBufferEnd());
}
