//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// safetensors files, single or sharded by an index (format: huggingface/safetensors' README).
//
#pragma once

#include "compiler/Import/Checkpoint.h"

namespace mlc::hf {

/// The tensors of one file, pointing into `bytes`; each tensor's `file` is 0. Everything the header says is checked:
/// its size, keys that stand twice, dtypes, shapes against bytes, and that the tensors fill the data without gap or
/// overlap.
llvm::Expected<std::vector<TensorInfo>> parseSafeTensors(llvm::StringRef file, llvm::ArrayRef<uint8_t> bytes);

/// Opens DIRECTORY/model.safetensors, or the shards that DIRECTORY/model.safetensors.index.json names.
llvm::Expected<Checkpoint> openSafeTensors(llvm::StringRef directory);

/// One safetensors file as a checkpoint (weights of graph text).
llvm::Expected<Checkpoint> openSafeTensorsFile(llvm::StringRef path);

} // namespace mlc::hf
