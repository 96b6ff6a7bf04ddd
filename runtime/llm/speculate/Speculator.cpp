//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/speculate/Speculator.h"

#include <algorithm>

namespace mlc {

namespace {

/// What a token's random numbers are for. Numbers that no draft calls for are those of generate().
enum class Draw : uint64_t { token = 0, draft = 1, keep = 2 };

double drawFor(Draw what, uint64_t seed, uint64_t place) { return uniformDraw(seed, uint64_t(what) << 62 | place); }

} // namespace

/// What the steps of a generation share.
struct Speculator::Round {
  const GenerateOptions &options;
  Sampler sampler;
  size_t textSize = 0;                      // Of `text`: all but the last token have been processed.
  uint64_t generated = 0;                   // Tokens so far.
  int32_t tokens[kMaxDraftTokens + 1] = {}; // Of the last step, the end token left out.
  unsigned count = 0;
  bool ended = false; // By an end token.
};

Result<Speculator> Speculator::create(Session &target, std::span<Drafter *const> drafters,
                                      const SpeculationOptions &options) {
  Speculator made(target, options);
  uint64_t most = std::min({target.batch(), target.maxRows(), uint64_t(kMaxDraftTokens) + 1}) - 1;
  if (options.draftTokens > kMaxDraftTokens)
    return Error(ErrorCode::InvalidArgument, "%u draft tokens: choose 1 to %u, or leave it to what is measured",
                 options.draftTokens, kMaxDraftTokens);
  if (!most || options.draftTokens > most)
    return Error(ErrorCode::OutOfRange,
                 "%s: its steps take %llu tokens, a draft at most one less; compile it with a larger --batch",
                 target.model().name(), (unsigned long long)most + 1);
  if (drafters.empty() || drafters.size() > kMostDrafters)
    return Error(ErrorCode::InvalidArgument, "%zu drafters: give 1 to %zu", drafters.size(), kMostDrafters);
  made.longest = unsigned(options.draftTokens ? options.draftTokens : most);
  for (Drafter *drafter : drafters)
    made.sources[made.sourceCount++] = {drafter, DraftEstimate(drafter->costShare())};
  MLC_ASSIGN(made.text, OwnedArray<int32_t>::create(systemAllocator(), target.context() + 1, "text"));
  MLC_ASSIGN(made.rows, OwnedArray<int32_t>::create(systemAllocator(), target.maxRows(), "rows"));
  return made;
}

/// Fills `drafts`; how many there are.
Result<unsigned> Speculator::draft(const Round &round, size_t most) {
  source = nullptr;
  auto limit = unsigned(std::min<size_t>(most, longest));
  bool automatic = !options.draftTokens;
  if (!limit || (automatic && policy.wantsPlain()))
    return 0u;
  std::span<const int32_t> settled(text.data(), round.textSize);
  double rate = 0;
  for (Source &candidate : std::span(sources, sourceCount)) {
    if (!candidate.drafter->begin(settled))
      continue;
    size_t behind = candidate.drafter->behind();
    if (automatic && behind > kShortRead && !policy.affords(candidate.estimate.readMs(behind, 1 / policy.plainRate())))
      candidate.drafter->leaveOut(kShortRead);
    LengthPolicy::Plan plan{limit, 1};
    // Whoever fixed the length of the only drafter has decided.
    if (automatic || (sourceCount > 1 && policy.plainRate() > 0))
      plan =
          policy.plan(candidate.estimate, limit, candidate.drafter->behind(), candidate.drafter->expectedConfidence());
    if ((plan.length || !automatic) && plan.rate > rate) {
      rate = plan.rate;
      source = &candidate;
    }
  }
  if (!source)
    return 0u;
  policy.begin(rate);
  DraftEstimate &estimate = source->estimate;
  unsigned confidence = source->drafter->expectedConfidence(), count = 0;
  while (count < limit && (!automatic || policy.goesOn(estimate, count, limit, confidence))) {
    double begin = monotonicMs();
    size_t behind = count ? 0 : source->drafter->behind();
    Draft &next = drafts[count];
    MLC_ASSIGN(bool came,
               source->drafter->next(drawFor(Draw::draft, round.options.sampling.seed, round.generated + count), next));
    if (!came)
      break;
    estimate.learnCost(behind, monotonicMs() - begin);
    // A distribution decides, never the token drawn from it: what comes out would no longer be the target's.
    if (automatic && !policy.keeps(estimate, count, limit, next.confidence))
      break;
    ++count;
  }
  return count;
}

/// Judges the drafted tokens by the target's logits and draws the one behind those that stay; how many stayed.
Result<unsigned> Speculator::judge(Round &round, LogitsView logits, unsigned drafted) {
  uint64_t seed = round.options.sampling.seed;
  round.count = 0;
  for (unsigned i = 0;; ++i) {
    MLC_ASSIGN(std::span<const Sampler::Candidate> wanted, round.sampler.distribution(logits.row(i)));
    uint64_t place = round.generated + round.count;
    bool stays = false;
    int32_t token;
    if (i == drafted) {
      token = wanted.size() == 1 ? wanted[0].token : Sampler::drawFrom(wanted, drawFor(Draw::token, seed, place));
    } else {
      stays = drawFor(Draw::keep, seed, place) < keepProbability(wanted, drafts[i]);
      token = stays ? drafts[i].token : options.redraw(wanted, drafts[i], drawFor(Draw::token, seed, place));
      ++counts.judged[i];
      counts.stayed[i] += stays;
      source->estimate.learn(i, drafts[i].confidence, stays);
    }
    round.ended = !round.options.ignoreEnd && target->model().isEndToken(token);
    if (round.ended)
      return i + stays;
    round.sampler.accept(token);
    round.tokens[round.count++] = token;
    if (!stays)
      return i;
  }
}

/// The target reads the text's last token and the drafted ones, fewer where its states have no room for all.
Result<LogitsView> Speculator::verify(SequenceId sequence, const Round &round, unsigned &drafted) {
  for (;;) {
    int32_t tokens[kMaxDraftTokens + 1] = {text[round.textSize - 1]};
    for (unsigned i = 0; i < drafted; ++i)
      tokens[i + 1] = drafts[i].token;
    for (unsigned i = 0; i <= drafted; ++i)
      rows[i] = int32_t(i);
    StepSegment segment{sequence, {tokens, drafted + 1}};
    auto logits = target->step({&segment, 1}, rows.span().first(drafted + 1));
    if (logits || !drafted || logits.error().code() != ErrorCode::OutOfMemory)
      return logits;
    drafted = 0;
  }
}

void Speculator::count(unsigned drafted, unsigned stayed, double ms) {
  ++counts.lengths[drafted];
  (drafted ? counts.verifyMs : counts.plainMs) += ms;
  counts.rounds += drafted != 0;
  counts.drafted += drafted;
  counts.accepted += stayed;
  counts.rollbacks += stayed < drafted;
}

Result<GenerateResult> Speculator::generate(SequenceId sequence, std::span<const int32_t> prompt,
                                            const GenerateOptions &given) {
  double start = monotonicMs();
  MLC_TRY(checkPrompt(*target, sequence, prompt));
  MLC_ASSIGN(int64_t held, target->length(sequence));
  if (!held)
    MLC_TRY(target->setPromptLength(sequence, int64_t(prompt.size())));
  MLC_ASSIGN(Sampler sampler, Sampler::create(size_t(target->model().bounds().vocab), given.sampling, given.bias));
  sampler.acceptPrompt(given.history);
  sampler.acceptPrompt(prompt);
  Round round{given, std::move(sampler)};
  auto append = [&](std::span<const int32_t> tokens) {
    std::copy(tokens.begin(), tokens.end(), text.begin() + round.textSize);
    round.textSize += tokens.size();
  };
  // A history that is not what the sequence holds would not tell the draft where it is.
  if (given.history.size() == size_t(held))
    append(given.history);
  append(prompt);

  GenerateResult result;
  result.promptTokens = prompt.size();
  std::span<const float> last;
  if (Status fed = feedPrompt(*target, sequence, prompt, given, rows.span(), last); !fed)
    return cancelledOr(fed.error(), result);
  LogitsView logits{last.data(), 1, last.size()};
  double draftStart = monotonicMs();
  for (Source &each : std::span(sources, sourceCount))
    if (Status started = each.drafter->start(given, {text.data(), round.textSize}); !started)
      return cancelledOr(started.error(), result);
  double fedAt = monotonicMs(), firstAt = fedAt;
  counts.draftPromptMs += fedAt - draftStart;
  result.promptMs = fedAt - start;

  int64_t length = held + int64_t(prompt.size());
  // The last new token is never fed, so it needs no position.
  uint64_t room = target->context() - uint64_t(length) + 1;
  uint64_t most = given.maxTokens ? std::min(given.maxTokens, room) : room;
  unsigned drafted = 0;
  double begin = fedAt, verifyBegin = fedAt;
  for (bool stepped = false;; stepped = true) {
    MLC_ASSIGN(unsigned stayed, judge(round, logits, drafted));
    // The rows that gave tokens are those of the tokens that the sequence keeps.
    unsigned came = round.count + round.ended;
    double now = monotonicMs();
    if (stepped) {
      length += came;
      MLC_TRY(target->rollback(sequence, length));
      double judged = now;
      now = monotonicMs();
      counts.rollbackMs += now - judged;
      count(drafted, stayed, now - verifyBegin);
      policy.learn(drafted, source != nullptr, came, now - verifyBegin, now - begin);
      for (Source &each : std::span(sources, sourceCount))
        if (!drafted || &each != source)
          each.estimate.forget();
      result.decodeSteps += came;
    } else {
      firstAt = now;
      result.firstTokenMs = now - start;
    }
    for (unsigned i = 0; i < came; ++i) {
      if (stepped && given.onLogits)
        MLC_TRY(given.onLogits(given.context, logits.row(i)));
      if (i == round.count)
        break; // The end token's.
      ++result.tokens;
      if (given.onToken && !given.onToken(given.context, round.tokens[i])) {
        result.finish = FinishReason::cancelled;
        if (stepped)
          MLC_TRY(target->rollback(sequence, length - int64_t(came - 1 - i)));
        result.generateMs = monotonicMs() - firstAt;
        return result;
      }
    }
    append({round.tokens, round.count});
    round.generated += round.count;
    if (round.ended)
      result.finish = FinishReason::stop;
    if (round.ended || result.tokens == most)
      break;

    begin = monotonicMs();
    auto made = draft(round, size_t(most - result.tokens - 1));
    verifyBegin = monotonicMs();
    counts.draftMs += verifyBegin - begin;
    auto read = made ? verify(sequence, round, drafted = *made) : Result<LogitsView>(made.error());
    if (!read) {
      result.generateMs = monotonicMs() - firstAt;
      return cancelledOr(read.error(), result);
    }
    logits = *read;
  }
  result.generateMs = monotonicMs() - firstAt;
  return result;
}

} // namespace mlc
