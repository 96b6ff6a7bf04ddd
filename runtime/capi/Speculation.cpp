//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/capi/Handles.h"
#include "runtime/llm/speculate/Drafters.h"
#include "runtime/llm/speculate/Speculator.h"

#include <algorithm>
#include <optional>

using namespace mlc;
using namespace mlc::capi;

struct mlc_speculator {
  explicit mlc_speculator(mlc_session *target) : target(target) {}

  mlc_session *target, *draft = nullptr;
  Drafters drafters;
  std::optional<Speculator> speculator;

  Status open(const mlc_speculation_options &options) {
    if ((draft = options.draft))
      MLC_TRY(checkVocabulary(target->session->model(), draft->session->model()));
    MLC_TRY(drafters.open(draft ? draft->session : nullptr, *target->session, options.ngram));
    SpeculationOptions wanted;
    wanted.draftTokens = options.draft_tokens;
    MLC_ASSIGN(Speculator made, Speculator::create(*target->session, drafters.all(), wanted));
    speculator.emplace(std::move(made));
    return {};
  }
};

static_assert(MLC_MAX_DRAFT_TOKENS == kMaxDraftTokens);

extern "C" {

void mlc_speculation_options_init(mlc_speculation_options *options) {
  *options = {};
  options->size = sizeof *options;
}

mlc_status mlc_speculator_create(mlc_session *session, const mlc_speculation_options *given,
                                 mlc_speculator **speculator) {
  if (!session || !given || !speculator)
    return nullArgument();
  mlc_speculation_options options;
  mlc_speculation_options_init(&options);
  if (!readStruct(given, options))
    return badSize("mlc_speculation_options");
  if (options.draft == session)
    return report(ErrorCode::InvalidArgument, "the draft needs a session of its own");
  void *memory = malloc(sizeof(mlc_speculator));
  if (!memory)
    return report(ErrorCode::OutOfMemory, "no memory for a speculator");
  auto *made = new (memory) mlc_speculator(session);
  if (Status opened = made->open(options); !opened) {
    mlc_speculator_destroy(made);
    return report(opened);
  }
  *speculator = made;
  return MLC_OK;
}

void mlc_speculator_destroy(mlc_speculator *speculator) {
  if (!speculator)
    return;
  speculator->~mlc_speculator();
  free(speculator);
}

mlc_status mlc_speculator_generate(mlc_speculator *speculator, mlc_sequence sequence, const int32_t *prompt,
                                   size_t count, const mlc_generation *given, mlc_generation_result *result) {
  if (!speculator || (!prompt && count))
    return nullArgument();
  mlc_generation wanted;
  GenerateOptions options;
  if (mlc_status status = readGeneration(given, wanted, options))
    return status;
  speculator->target->logits = {};
  if (speculator->draft)
    speculator->draft->logits = {};
  return report(speculator->speculator->generate(SequenceId(sequence), {prompt, count}, options), result);
}

mlc_status mlc_speculator_get_stats(const mlc_speculator *speculator, mlc_speculation_stats *stats) {
  if (!speculator || !stats)
    return nullArgument();
  const SpeculationStats &counts = speculator->speculator->stats();
  mlc_speculation_stats filled = {};
  uint32_t size = stats->size;
  if (size < sizeof size || size > sizeof filled)
    return badSize("mlc_speculation_stats");
  filled.size = size;
  filled.rounds = counts.rounds;
  filled.drafted = counts.drafted;
  filled.accepted = counts.accepted;
  filled.rollbacks = counts.rollbacks;
  std::copy(std::begin(counts.judged), std::end(counts.judged), filled.judged);
  std::copy(std::begin(counts.stayed), std::end(counts.stayed), filled.stayed);
  std::copy(std::begin(counts.lengths), std::end(counts.lengths), filled.lengths);
  filled.draft_ms = counts.draftMs;
  filled.verify_ms = counts.verifyMs;
  filled.plain_ms = counts.plainMs;
  filled.draft_prompt_ms = counts.draftPromptMs;
  filled.rollback_ms = counts.rollbackMs;
  memcpy(static_cast<void *>(stats), &filled, size);
  return MLC_OK;
}

} // extern "C"
