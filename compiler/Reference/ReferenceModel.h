//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A language model run by the reference interpreter, with the steps of a runtime session.
//
#pragma once

#include "compiler/Reference/Interpreter.h"

#include <map>

namespace mlc::reference {

/// One sequence's tokens of a step.
struct StepTokens {
  uint64_t sequence;
  llvm::ArrayRef<int32_t> tokens;
};

class ReferenceModel {
public:
  virtual ~ReferenceModel();

  /// Runs `@step(batch, tokens, rows)` of `module`, which is verified and outlives the model, as `source` does. `f64`:
  /// everything is computed in double.
  static llvm::Expected<std::unique_ptr<ReferenceModel>> create(mlir::ModuleOp module, WeightSource &source,
                                                                bool f64 = false, const Limits &limits = {});

  /// An empty sequence. `promptLength`: tokens of the complete prompt, which fixes RoPE forms that depend on length.
  uint64_t createSequence(int64_t promptLength);
  void destroySequence(uint64_t sequence);
  uint64_t fork(uint64_t sequence);
  /// Drops the positions from `position` on.
  llvm::Error rollback(uint64_t sequence, int64_t position);

  /// Processes the segments and gives the logits of `rows`, row numbers in the order of the concatenated tokens:
  /// [rows, vocabulary].
  llvm::Expected<std::vector<float>> step(llvm::ArrayRef<StepTokens> segments, llvm::ArrayRef<int32_t> rows);

  graph::ModelOp description() { return model; }
  int64_t vocabulary() { return model.getVocabSize(); }

protected:
  explicit ReferenceModel(graph::ModelOp model) : model(model) {}
  virtual llvm::Expected<std::vector<float>> run(Batch batch, Integers tokens, Integers rows) = 0;
  virtual void eraseStates(uint64_t sequence) = 0;
  virtual void forkStates(uint64_t from, uint64_t to) = 0;

private:
  struct Sequence {
    int64_t length = 0, promptLength = 0;
  };
  graph::ModelOp model;
  std::map<uint64_t, Sequence> sequences;
  uint64_t nextSequence = 0;
};

} // namespace mlc::reference
