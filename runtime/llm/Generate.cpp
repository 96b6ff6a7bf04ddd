//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Generate.h"

#include <algorithm>
#include <time.h>

namespace mlc {

double monotonicMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return double(now.tv_sec) * 1e3 + double(now.tv_nsec) * 1e-6;
}

const char *finishReasonName(FinishReason reason) {
  return reason == FinishReason::stop ? "stop" : reason == FinishReason::length ? "length" : "cancelled";
}

Result<LogitsView> feedPrompt(Session &session, SequenceId sequence, std::span<const int32_t> tokens,
                              const GenerateOptions &options, std::span<int32_t> rows, const StepDraws &draws) {
  LogitsView last;
  bool all = options.onLogits != nullptr;
  // With all rows wanted, a step holds no more tokens than a step may give rows.
  auto most = size_t(all ? std::min(session.batch(), session.maxRows()) : session.batch());
  while (!tokens.empty()) {
    size_t count = std::min(most, tokens.size());
    size_t wanted = all ? count : count == tokens.size();
    for (size_t i = 0; i < wanted; ++i)
      rows[i] = int32_t(count - wanted + i);
    StepSegment segment{sequence, tokens.first(count)};
    MLC_ASSIGN(LogitsView logits,
               session.step({&segment, 1}, rows.first(wanted), wanted && !all ? draws : StepDraws{}));
    for (size_t i = 0; all && i < wanted; ++i)
      MLC_TRY(options.onLogits(options.context, logits.row(i)));
    if (wanted)
      last = logits.at(wanted - 1);
    tokens = tokens.subspan(count);
  }
  return last;
}

Result<GenerateResult> cancelledOr(const Error &error, GenerateResult result) {
  if (error.code() != ErrorCode::Cancelled)
    return error;
  result.finish = FinishReason::cancelled;
  return result;
}

Status checkPrompt(const Session &session, SequenceId sequence, std::span<const int32_t> prompt) {
  MLC_ASSIGN(int64_t held, session.length(sequence));
  if (prompt.empty())
    return Error(ErrorCode::InvalidArgument, "the prompt is empty; give at least one token");
  if (prompt.size() > session.context() - uint64_t(held)) {
    if (!held)
      return Error(ErrorCode::OutOfRange, "a prompt of %zu tokens does not fit the context of %llu; shorten it",
                   prompt.size(), (unsigned long long)session.context());
    return Error(ErrorCode::OutOfRange, "a prompt of %zu tokens after %lld does not fit the context of %llu",
                 prompt.size(), (long long)held, (unsigned long long)session.context());
  }
  for (int32_t token : prompt)
    if (token < 0 || uint64_t(token) >= session.model().bounds().vocab)
      return Error(ErrorCode::OutOfRange, "token id %d is outside the vocabulary of %llu", token,
                   (unsigned long long)session.model().bounds().vocab);
  return {};
}

Result<GenerateResult> generate(Session &session, SequenceId sequence, std::span<const int32_t> prompt,
                                const GenerateOptions &options) {
  double start = monotonicMs();
  MLC_TRY(checkPrompt(session, sequence, prompt));
  MLC_ASSIGN(int64_t held, session.length(sequence));
  if (!held)
    MLC_TRY(session.setPromptLength(sequence, int64_t(prompt.size())));
  const Model &model = session.model();
  MLC_ASSIGN(Sampler sampler, Sampler::create(size_t(model.bounds().vocab), options.sampling, options.bias));
  sampler.acceptPrompt(options.history);
  sampler.acceptPrompt(prompt);
  MLC_ASSIGN(auto rows, OwnedArray<int32_t>::create(systemAllocator(), session.maxRows(), "rows"));

  MLC_ASSIGN(StepDrawing drawing, StepDrawing::create(session));
  LogitsView logits;
  auto feed = [&](std::span<const int32_t> tokens) -> Status {
    drawing.clear();
    drawing.add(sampler, sampler.nextUniform());
    MLC_ASSIGN(logits, feedPrompt(session, sequence, tokens, options, rows.span(), drawing.draws()));
    return {};
  };

  GenerateResult result;
  result.promptTokens = prompt.size();
  if (Status fed = feed(prompt); !fed)
    return cancelledOr(fed.error(), result);
  double fedAt = monotonicMs(), firstAt = fedAt;
  result.promptMs = fedAt - start;
  // The last new token is never fed, so it needs no position.
  uint64_t room = session.context() - uint64_t(held) - prompt.size() + 1;
  uint64_t most = options.maxTokens ? std::min(options.maxTokens, room) : room;
  while (result.tokens < most) {
    MLC_ASSIGN(int32_t token, nextToken(sampler, logits, 0));
    if (!result.decodeSteps) {
      firstAt = monotonicMs();
      result.firstTokenMs = firstAt - start;
    }
    if (!options.ignoreEnd && model.isEndToken(token)) {
      result.finish = FinishReason::stop;
      break;
    }
    sampler.accept(token);
    ++result.tokens;
    if (options.onToken && !options.onToken(options.context, token)) {
      result.finish = FinishReason::cancelled;
      break;
    }
    if (result.tokens == most)
      break;
    if (Status fed = feed({&token, 1}); !fed) {
      result.generateMs = monotonicMs() - firstAt;
      return cancelledOr(fed.error(), result);
    }
    ++result.decodeSteps;
  }
  result.generateMs = monotonicMs() - firstAt;
  return result;
}

} // namespace mlc
