//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What `mlc compile --target cuda` adds: the kernels' images, and the refusal of what the target has no kernel for.
//
#pragma once

#include "compiler/Dialect/Exec/IR/Exec.h"
#include "schema_generated.h"
#include "targets/cuda/Images.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace mlc {

/// The images that run on the devices of `names` (sm_80, sm_86, sm_90a, ...), or all of them when there are none. An
/// error names what no image runs on, or says that this build has no kernels.
llvm::Expected<std::vector<cuda::Image>> chooseImages(llvm::ArrayRef<std::string> names);

/// The PTX of every region of `module`; empty when there is none.
llvm::Expected<std::string> regionPtx(mlir::ModuleOp module);
/// That PTX, and its machine code for the architectures of `kernels` if there is a ptxas (--ptxas `ptxas`), as images
/// whose bytes are kept in `storage`.
llvm::Expected<std::vector<cuda::Image>> regionImages(mlir::ModuleOp module, llvm::ArrayRef<cuda::Image> kernels,
                                                      llvm::StringRef ptxas,
                                                      std::vector<std::vector<uint8_t>> &storage);

/// Tables of `images` in a segment of their own, behind the others.
void describeImages(llvm::ArrayRef<cuda::Image> images, fb::ArtifactT &artifact);
/// The bytes of that segment.
std::vector<uint8_t> imageSegment(llvm::ArrayRef<cuda::Image> images);

/// Fails with a line that names the first op, state or weight of `artifact` that the CUDA target does not run.
llvm::Error checkForCuda(const fb::ArtifactT &artifact);

} // namespace mlc
