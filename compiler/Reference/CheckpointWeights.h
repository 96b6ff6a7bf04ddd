//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A checkpoint as a source of weights.
//
#pragma once

#include "compiler/Import/Checkpoint.h"
#include "compiler/Reference/Weights.h"

namespace mlc::reference {

class CheckpointWeights : public WeightSource {
public:
  /// `checkpoint` outlives the source.
  explicit CheckpointWeights(const Checkpoint &checkpoint) : checkpoint(checkpoint) {}
  llvm::Expected<std::vector<float>> load(graph::WeightOp weight) override;
  llvm::Expected<std::vector<uint8_t>> loadStored(graph::WeightOp weight) override;

private:
  /// The tensor, when it is what the graph says.
  llvm::Expected<const TensorInfo *> find(graph::WeightOp weight) const;
  const Checkpoint &checkpoint;
};

} // namespace mlc::reference
