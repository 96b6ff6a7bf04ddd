//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// GGUF headers: read or refused in one line; whatever is read is touched.
//
#include "compiler/Import/GGUF/Reader.h"

#include <cstdlib>

using namespace mlc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto header = gguf::parseHeader("fuzz.gguf", {data, size});
  if (!header) {
    if (llvm::toString(header.takeError()).find('\n') != std::string::npos)
      abort();
    return 0;
  }
  for (const TensorInfo &tensor : header->tensors)
    if (tensor.columns() <= 4096) {
      std::vector<float> row(size_t(tensor.columns()));
      Checkpoint::readRows(tensor, tensor.rows() - 1, tensor.rows(), row.data());
    }
  const gguf::Metadata &metadata = header->metadata;
  for (const auto &entry : metadata.all()) {
    llvm::consumeError(metadata.integer(entry.getKey()).takeError());
    llvm::consumeError(metadata.number(entry.getKey()).takeError());
    llvm::consumeError(metadata.boolean(entry.getKey()).takeError());
    llvm::consumeError(metadata.string(entry.getKey()).takeError());
    llvm::consumeError(metadata.strings(entry.getKey()).takeError());
    llvm::consumeError(metadata.integers(entry.getKey()).takeError());
    llvm::consumeError(metadata.floats(entry.getKey()).takeError());
  }
  return 0;
}
