//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/exec/Kernel.h"

namespace mlc {

Result<const TargetRegistry *> findTarget(const fb::Artifact &metadata) {
  const fb::Target *target = metadata.target();
  if (!target || !target->isa_family() || target->isa_family()->string_view() != kCudaFamily)
    return &cpuTarget();
#ifdef MLC_HAS_CUDA
  return &cudaTarget();
#else
  return Error(ErrorCode::Unsupported,
               "is made for an NVIDIA GPU; this program is static or of 32 bits and cannot load the driver");
#endif
}

} // namespace mlc
