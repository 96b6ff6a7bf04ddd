//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Artifact/Emit/Shards.h"

using namespace mlc;

TensorInfo mlc::partOf(const TensorInfo &tensor, llvm::ArrayRef<int64_t> shard, int64_t rank,
                       std::vector<uint8_t> &bytes) {
  if (shard.empty())
    return tensor;
  const int64_t ranks = shard[0];
  // A vector may stand for a matrix of one row.
  const size_t axis = std::min<size_t>(size_t(shard[1]), tensor.shape.size() - 1);
  llvm::ArrayRef<int64_t> pieces = shard.drop_front(2);
  TensorInfo part = tensor;
  if (pieces.empty()) {
    if (rank) {
      bytes.assign(tensor.bytes, 0);
      part.data = bytes.data();
      part.file = TensorInfo::kNoFile;
    }
    return part;
  }
  // The tensor is `outer` stretches, each the whole axis; an element of it is `unit` bytes, of the last one a fraction.
  const int64_t length = tensor.shape[axis];
  uint64_t outer = 1;
  for (int64_t extent : llvm::ArrayRef(tensor.shape).take_front(axis))
    outer *= uint64_t(extent);
  const uint64_t stretch = tensor.bytes / outer;
  auto bytesOf = [&](int64_t elements) {
    return uint64_t((unsigned __int128)stretch * uint64_t(elements) / uint64_t(length));
  };
  part.shape[axis] = length / ranks;
  part.bytes = tensor.bytes / uint64_t(ranks);
  if (outer == 1 && pieces.size() == 1) {
    part.data += bytesOf(rank * (length / ranks));
    part.offset += bytesOf(rank * (length / ranks));
    return part;
  }
  bytes.clear();
  bytes.reserve(part.bytes);
  for (uint64_t i = 0; i < outer; ++i) {
    int64_t begin = 0;
    for (int64_t piece : pieces) {
      const uint8_t *from = tensor.data + i * stretch + bytesOf(begin + rank * (piece / ranks));
      bytes.insert(bytes.end(), from, from + bytesOf(piece / ranks));
      begin += piece;
    }
  }
  part.data = bytes.data();
  part.file = TensorInfo::kNoFile;
  return part;
}
