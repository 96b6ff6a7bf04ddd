//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// From a planned exec module to a file: the metadata one to one, then the weights packed tile by tile from the mapped
// checkpoint.
//
#pragma once

#include "compiler/Artifact/Writer.h"
#include "compiler/Dialect/Exec/IR/Exec.h"
#include "compiler/Import/Checkpoint.h"

#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlc {

/// The metadata of `module` without segments' digests: tables in the module's order. `target`, `tokenizer` and `report`
/// are the caller's to fill in. Fails after a diagnostic.
mlir::FailureOr<fb::ArtifactT> emitMetadata(mlir::ModuleOp module);

/// KernelAttrs of one exec.kernel; failure after a diagnostic when its fields are not those of its schema struct.
mlir::FailureOr<fb::KernelAttrsUnion> emitKernelAttrs(exec::KernelOp kernel);

/// What an op is called in messages and reports: the tap it computes, else its weight or state; "" for control flow.
std::string opName(mlir::Operation *op);

/// Writes the bytes of the weights segments, packed by `threads` threads; the bytes do not depend on how many. Errors
/// name the file and the tensor.
llvm::Error emitWeights(mlir::ModuleOp module, const Checkpoint *checkpoint, unsigned threads,
                        llvm::function_ref<llvm::Error(llvm::ArrayRef<uint8_t>)> write);

/// The bytes of the code segment; none when the module has no code.
std::vector<uint8_t> codeSegment(mlir::ModuleOp module);

/// Bytes of the weights segment that all ranks read, or of each that has one rank's part.
uint64_t weightsSize(mlir::ModuleOp module, bool sharded = false);
/// GPUs that run the plan together.
int64_t ranksOf(mlir::ModuleOp module);

} // namespace mlc
