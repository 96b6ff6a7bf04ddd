//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// safetensors headers: read or refused in one line; whatever is read is touched.
//
#include "compiler/Import/HuggingFace/SafeTensors.h"

#include <cstdlib>

using namespace mlc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto tensors = hf::parseSafeTensors("fuzz.safetensors", {data, size});
  if (!tensors) {
    if (llvm::toString(tensors.takeError()).find('\n') != std::string::npos)
      abort();
    return 0;
  }
  for (const TensorInfo &tensor : *tensors)
    if (tensor.elements() > 0 && tensor.columns() <= 4096) {
      std::vector<float> row(size_t(tensor.columns()));
      Checkpoint::readRows(tensor, tensor.rows() - 1, tensor.rows(), row.data());
    }
  return 0;
}
