//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/artifact/ProgramVerifier.h"

namespace mlc {

TensorView slotView(const fb::Slot &slot, std::span<const int64_t> extents) {
  TensorView view;
  view.dtype = slot.dtype();
  view.rank = uint8_t(countOf(slot.dims()));
  for (unsigned i = 0; i < view.rank; ++i)
    view.dims[i] = dimValue(*slot.dims()->Get(i), extents);
  bool strided = countOf(slot.strides()) != 0;
  int64_t stride = 1;
  for (unsigned i = view.rank; i-- > 0;) {
    view.strides[i] = strided ? slot.strides()->Get(i) : stride;
    stride *= view.dims[i];
  }
  return view;
}

Result<Program> verifyProgram(const Artifact &artifact, const TargetRegistry &target, Isa isa, unsigned workers,
                              const Allocator &allocator, bool elsewhere) {
  ProgramVerifier verifier(artifact, target, isa, workers, allocator, elsewhere);
  MLC_TRY(verifier.verifyTables());
  MLC_TRY(verifier.verifyFunctions());
  return std::move(verifier.program);
}

} // namespace mlc
