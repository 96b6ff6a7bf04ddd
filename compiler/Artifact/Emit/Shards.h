//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What one rank of tensor parallelism holds of a tensor.
//
#pragma once

#include "compiler/Import/Checkpoint.h"

#include "llvm/ADT/ArrayRef.h"

namespace mlc {

/// The part of `tensor` that `rank` holds by `shard`, an entry of exec.constant's shards (ranks, axis, pieces); the
/// tensor itself when that is empty. `bytes` holds the part where it is not one stretch of the checkpoint. On the last
/// axis parts are whole blocks of the storage, which graph-shard-tensors sees to.
TensorInfo partOf(const TensorInfo &tensor, llvm::ArrayRef<int64_t> shard, int64_t rank, std::vector<uint8_t> &bytes);

} // namespace mlc
