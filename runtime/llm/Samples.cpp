//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Samples.h"

#include <algorithm>
#include <optional>

namespace mlc {

namespace {

// Sequences that are used at most: a step gives few more rows.
constexpr size_t kMostLanes = 64;

/// A sequence and the sample that it holds.
struct Lane {
  SequenceId sequence = SequenceId::none;
  std::optional<Sampler> sampler;
  uint64_t sample = 0, tokens = 0;
  int32_t last = 0;
  bool live = false;
};

struct Sampling {
  Sampling(Session &session, std::span<const int32_t> prompt, const SamplesOptions &options)
      : session(session), prompt(prompt), options(options) {}
  Session &session;
  std::span<const int32_t> prompt;
  const SamplesOptions &options;
  OwnedArray<Sampler::Candidate> candidates; // One distribution at a time.
  SnapshotId start = SnapshotId::none;       // Behind all of the prompt but its last token.
  Lane lanes[kMostLanes];
  uint64_t begun = 0, most = 0;

  ~Sampling() {
    for (Lane &lane : lanes)
      if (lane.sequence != SequenceId::none)
        (void)session.destroySequence(lane.sequence);
    if (start != SnapshotId::none)
      (void)session.releaseSnapshot(start);
  }

  /// The next sample begins in a lane.
  Status begin(Lane &lane) {
    lane.sample = begun++;
    SamplingOptions sampling = options.generation.sampling;
    sampling.seed += lane.sample;
    MLC_ASSIGN(Sampler sampler, Sampler::createSharing(candidates.size(), sampling, options.generation.bias));
    lane.sampler.emplace(std::move(sampler));
    lane.sampler->useCandidates(candidates.span());
    lane.sampler->acceptPrompt(prompt);
    lane.tokens = 0;
    lane.last = prompt.back();
    lane.live = true;
    return session.restore(lane.sequence, start);
  }

  /// Takes the token behind a lane's last one; false ends all.
  Result<bool> take(Lane &lane, const LogitsView &logits, size_t row) {
    MLC_ASSIGN(int32_t token, nextToken(*lane.sampler, logits, row));
    bool ends = !options.generation.ignoreEnd && session.model().isEndToken(token);
    if (!ends) {
      lane.sampler->accept(token);
      lane.last = token;
      ++lane.tokens;
      if (options.onToken && !options.onToken(options.context, lane.sample, token))
        return false;
    }
    lane.live = !ends && lane.tokens < most;
    if (!lane.live && options.onEnd)
      options.onEnd(options.context, lane.sample, ends ? FinishReason::stop : FinishReason::length);
    return true;
  }
};

} // namespace

Result<FinishReason> generateSamples(Session &session, std::span<const int32_t> prompt, const SamplesOptions &options) {
  Sampling all(session, prompt, options);
  MLC_ASSIGN(all.candidates,
             OwnedArray<Sampler::Candidate>::create(systemAllocator(), session.model().bounds().vocab, "samples"));
  auto lanes = size_t(std::min({session.sequences(), session.batch(), session.maxRows(), uint64_t(kMostLanes),
                                std::max<uint64_t>(options.count, 1)}));
  for (size_t i = 0; i < lanes; ++i) {
    MLC_ASSIGN(all.lanes[i].sequence, session.createSequence());
    if (!i)
      MLC_TRY(checkPrompt(session, all.lanes[0].sequence, prompt));
  }
  MLC_TRY(session.setPromptLength(all.lanes[0].sequence, int64_t(prompt.size())));
  uint64_t room = session.context() - prompt.size() + 1;
  all.most = options.generation.maxTokens ? std::min(options.generation.maxTokens, room) : room;
  auto cancelledOr = [](const Error &error) -> Result<FinishReason> {
    if (error.code() != ErrorCode::Cancelled)
      return error;
    return FinishReason::cancelled;
  };
  int32_t row[1];
  if (auto fed = feedPrompt(session, all.lanes[0].sequence, prompt.first(prompt.size() - 1), {}, row); !fed)
    return cancelledOr(fed.error());
  MLC_ASSIGN(all.start, session.snapshot(all.lanes[0].sequence));
  MLC_ASSIGN(StepDrawing drawing, StepDrawing::create(session));
  for (;;) {
    StepSegment segments[kMostLanes];
    int32_t rows[kMostLanes];
    Lane *stepped[kMostLanes];
    size_t count = 0;
    drawing.clear();
    for (Lane &lane : std::span(all.lanes, lanes)) {
      if (!lane.live && all.begun < options.count)
        MLC_TRY(all.begin(lane));
      if (!lane.live)
        continue;
      segments[count] = {lane.sequence, {&lane.last, 1}};
      rows[count] = int32_t(count);
      stepped[count++] = &lane;
      drawing.add(*lane.sampler, lane.sampler->nextUniform());
    }
    if (!count)
      return FinishReason::length;
    auto logits = session.step({segments, count}, {rows, count}, drawing.draws());
    if (!logits)
      return cancelledOr(logits.error());
    for (size_t i = 0; i < count; ++i) {
      MLC_ASSIGN(bool on, all.take(*stepped[i], *logits, i));
      if (!on)
        return FinishReason::cancelled;
    }
  }
}

} // namespace mlc
