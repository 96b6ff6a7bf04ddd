//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What drafts for one text: a model, the text itself (n-grams), or both.
//
#pragma once

#include "runtime/llm/speculate/Drafting.h"
#include "runtime/llm/speculate/ModelDrafter.h"
#include "runtime/llm/speculate/NgramDrafter.h"

namespace mlc {

/// Bounds of a draft's session beside `target`: on its threads, in what it leaves of `maxMemory` (0: no limit).
SessionOptions draftBounds(Session &target, uint64_t context, uint64_t sequences, uint64_t maxMemory);

class Drafters {
public:
  Drafters() = default;
  Drafters(const Drafters &) = delete; // all() points into it.
  Drafters &operator=(const Drafters &) = delete;

  /// Called once. `draft`: as of ModelDrafter::create; null: no model drafts.
  Status open(Session *draft, const Session &target, bool ngram);
  std::span<Drafter *const> all() const { return {drafters, count}; }
  /// Null without one.
  const ModelDrafter *model() const { return modelDrafter.get(); }

private:
  Owned<ModelDrafter> modelDrafter;
  NgramDrafter ngramDrafter;
  Drafter *drafters[Drafting::kMostDrafters] = {};
  size_t count = 0;
};

} // namespace mlc
