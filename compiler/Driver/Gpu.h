//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What `mlc compile --target cuda` adds: the kernels' images, and the refusal of what the target has no kernel for.
//
#pragma once

#include "schema_generated.h"
#include "targets/cuda/Images.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace mlc {

/// The images that run on the devices of `names` (sm_80, sm_86, sm_90a, ...), or all of them when there are none. An
/// error names what no image runs on, or says that this build has no kernels.
llvm::Expected<std::vector<cuda::Image>> chooseImages(llvm::ArrayRef<std::string> names);

/// Tables of `images` in a segment of their own, behind the others.
void describeImages(llvm::ArrayRef<cuda::Image> images, fb::ArtifactT &artifact);
/// The bytes of that segment.
std::vector<uint8_t> imageSegment(llvm::ArrayRef<cuda::Image> images);

/// Fails with a line that names the first op, state or weight of `artifact` that the CUDA target does not run.
llvm::Error checkForCuda(const fb::ArtifactT &artifact);

} // namespace mlc
