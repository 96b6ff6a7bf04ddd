//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/speculate/Drafters.h"

namespace mlc {

SessionOptions draftBounds(Session &target, uint64_t context, uint64_t sequences, uint64_t maxMemory) {
  SessionOptions bounds;
  // With a context given both are lowered; without, the sessions' bounds are compared.
  bounds.context = context;
  bounds.sequences = sequences;
  bounds.pool = &target.workers();
  uint64_t taken = target.memoryPlan().total();
  if (maxMemory)
    bounds.maxMemory = maxMemory > taken ? maxMemory - taken : 1;
  return bounds;
}

Status Drafters::open(Session *draft, const Session &target, bool ngram) {
  if (draft) {
    MLC_ASSIGN(ModelDrafter * made, ModelDrafter::create(*draft, target));
    modelDrafter = Owned<ModelDrafter>(made);
    drafters[count++] = made;
  }
  if (ngram)
    drafters[count++] = &ngramDrafter;
  return {};
}

} // namespace mlc
