//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The command line of `mlc compile`, read and checked.
//
#pragma once

#include "compiler/Driver/Pipeline.h"
#include "compiler/Driver/Source.h"
#include "runtime/run/Options.h"

namespace mlc {

class ArtifactWriter;

struct CompileOptions {
  SourceOptions source;
  PipelineOptions pipeline;
  std::string output, emit = "artifact", report;
  std::string isaFamily;             // Whose packed layouts the artifact holds.
  std::vector<std::string> gpus;     // --gpu, of --target cuda; empty: every image.
  std::string ptxas;                 // --ptxas
  std::vector<std::string> cpuNames; // --cpu; pipeline.cpus are the levels among them.
  std::string math, kv;              // Empty: by what the weights are.
  std::string activations;           // Empty: by the target.
  std::string calibrate;             // --calibrate
  uint64_t calibrationDigest = 0;    // XXH3-64 of that text, once it is read.
  bool strict = false;
  unsigned threads = 0;
};

/// Reads argv[1...]. --help, --version and mistakes are answered here (`leave`).
cli::Parsed parseCompileOptions(int argc, char **argv, CompileOptions &options);

/// The options that change the artifact, in one fixed order: its provenance.
std::string provenance(const CompileOptions &options);

/// Writes everything but the end of an artifact of `module`, under a progress bar of that title.
llvm::Error fillArtifact(mlir::ModuleOp module, const Source &source, const CompileOptions &options,
                         ArtifactWriter &writer, const std::string &title);
/// Fills in --math, --kv and --activations by what the compiled weights are.
llvm::Error chooseMath(mlir::ModuleOp module, CompileOptions &options);
/// Runs the passes that `build` adds; an error is one line that begins with `file`.
llvm::Error runPasses(mlir::ModuleOp module, const std::string &file,
                      llvm::function_ref<void(mlir::PassManager &)> build);

} // namespace mlc
