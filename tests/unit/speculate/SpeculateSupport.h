//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Pairs of tiny models, and generations whose tokens are kept.
//
#pragma once

#include "runtime/llm/speculate/ModelDrafter.h"
#include "runtime/llm/speculate/NgramDrafter.h"
#include "runtime/llm/speculate/Speculator.h"
#include "tests/unit/session/SessionSupport.h"

namespace mlc::test {

/// Changes every weight by up to `noise` times itself.
inline void addNoise(TinyModel &tiny, float noise) {
  std::mt19937 random(5);
  for (size_t i = 0; i + 4 <= tiny.weights.size(); i += 4) {
    float value;
    memcpy(&value, tiny.weights.data() + i, 4);
    value *= 1 + noise * (float(random() % 2001) / 1000 - 1);
    memcpy(tiny.weights.data() + i, &value, 4);
  }
}

/// A model whose weights are those of another one, each changed by up to `noise` of itself: a draft that is often
/// right.
struct NoisyModel {
  NoisyModel(const TinyOptions &options, float noise)
      : bytes(made(options, noise)), model(must(Model::fromMemory(bytes.span()))) {}
  static AlignedBytes made(const TinyOptions &options, float noise) {
    TinyModel tiny = makeTinyModel(options);
    addNoise(tiny, noise);
    return modelBytes(tiny);
  }
  AlignedBytes bytes;
  Owned<Model> model;
};

/// What a generation gave.
struct Answer {
  std::vector<int32_t> tokens;
  std::vector<float> logits;
  size_t stopAfter = SIZE_MAX;
  GenerateResult result;

  GenerateOptions options(uint64_t maxTokens, bool withLogits = false) {
    GenerateOptions options;
    options.maxTokens = maxTokens;
    options.ignoreEnd = true;
    options.context = this;
    options.onToken = [](void *context, int32_t token) {
      Answer &answer = *static_cast<Answer *>(context);
      answer.tokens.push_back(token);
      return answer.tokens.size() < answer.stopAfter;
    };
    if (withLogits)
      options.onLogits = [](void *context, std::span<const float> row) -> Status {
        auto &logits = static_cast<Answer *>(context)->logits;
        logits.insert(logits.end(), row.begin(), row.end());
        return {};
      };
    return options;
  }
};

/// A target, a draft, and what speculates with them.
struct Pair {
  Pair(const Model &targetModel, const Model &draftModel, const SpeculationOptions &options = {},
       const SessionOptions &bounds = {})
      : target(makeSession(targetModel, bounds)), draft(makeSession(draftModel, bounds)),
        drafter(must(ModelDrafter::create(*draft, *target))), speculator(made(options)) {}
  Speculator made(const SpeculationOptions &options) {
    Drafter *drafters[] = {drafter.get()};
    return must(Speculator::create(*target, drafters, options));
  }
  Owned<Session> target, draft;
  Owned<ModelDrafter> drafter;
  Speculator speculator;
};

inline SpeculationOptions fixedDraft(unsigned tokens) {
  SpeculationOptions options;
  options.draftTokens = tokens;
  return options;
}

} // namespace mlc::test
