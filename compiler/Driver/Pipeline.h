//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The passes of `mlc compile` in their order.
//
#pragma once

#include "mlir/Pass/PassManager.h"

#include <string>
#include <vector>

namespace mlc {

/// The options of `mlc compile` that change what is computed; the command line's words.
struct PipelineOptions {
  std::string quant = "keep", head, kv = "f32", ssm = "f32";
  int64_t group = 128;
  bool asymmetric = false, fast = false;
  int64_t context = 0, batch = 512, sequences = 8, checkpointEvery = 0;
  /// Which elementwise ops are compiled rather than run by kernels: auto, all or none.
  std::string code = "auto";
  /// own, auto or xnnpack.
  std::string kernels = "auto";
  /// Of which year the XNNPACK is that runs its kernels: 2022 or 2024.
  unsigned xnnpack = 2022;
  /// For a GPU: regions become PTX, and nothing the host's code.
  bool device = false;
  /// GPUs that run the plan together.
  int64_t ranks = 1;
  /// With `fast`: rows that meet integers are int8; else, on a GPU, bf16.
  bool quantizeRows = true;
  /// Of compiled regions: a triple of CpuNames.h, and the levels that the artifact carries.
  std::string triple;
  std::vector<std::string> cpus;
};

/// graph to graph: bounds, state types, quantization, fusions; what `mlc interpret --after-transforms` runs.
void buildTransforms(mlir::PassManager &passes, const PipelineOptions &options);
/// A network: its graph ops as structured ops, on which foldWeights() runs; then fused, on buffers.
/// `folds`: the weights are at hand.
void buildNetworkDecomposition(mlir::PassManager &passes, const PipelineOptions &options, bool folds);
void buildNetworkTransforms(mlir::PassManager &passes);
/// graph to planned exec.
void buildConversion(mlir::PassManager &passes, const PipelineOptions &options);

} // namespace mlc
