//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Many continuations of one prompt, as many at a time as the session has sequences.
//
#pragma once

#include "runtime/llm/Generate.h"

namespace mlc {

struct SamplesOptions {
  uint64_t count = 1;
  /// Sample i draws by the seed plus i and is bitwise what generate() gives with that seed. Callbacks and history of
  /// these are not used.
  GenerateOptions generation;
  /// Each new token of a sample, end tokens left out; false cancels all.
  bool (*onToken)(void *context, uint64_t sample, int32_t token) = nullptr;
  /// A sample has ended.
  void (*onEnd)(void *context, uint64_t sample, FinishReason finish) = nullptr;
  void *context = nullptr;
};

/// The prompt is processed once. The session holds no other sequence and has a free snapshot; both are so afterwards.
/// `cancelled`: the samples that had not ended are left as they are.
Result<FinishReason> generateSamples(Session &session, std::span<const int32_t> prompt, const SamplesOptions &options);

} // namespace mlc
