//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// .npy files: read or refused; of what is read the values are all there.
//
#include "runtime/run/Npy.h"

#include <cstdlib>

using namespace mlc::cli;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  NpyHeader header;
  if (!parseNpy({reinterpret_cast<const char *>(data), size}, header))
    return 0;
  uint64_t elements = 1;
  for (unsigned axis = 0; axis < header.axes; ++axis)
    elements *= header.shape[axis];
  if (header.axes > kNpyMostAxes || !npyTypeName(header.kind, header.size) || elements != header.elements ||
      header.offset > size || size - header.offset != elements * header.size)
    abort();
  return 0;
}
