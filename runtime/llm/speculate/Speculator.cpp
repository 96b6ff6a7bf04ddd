//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/speculate/Speculator.h"

#include <algorithm>

namespace mlc {

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
  MLC_ASSIGN(made.longest, longestDraft(target, options.draftTokens));
  if (drafters.empty() || drafters.size() > Drafting::kMostDrafters)
    return Error(ErrorCode::InvalidArgument, "%zu drafters: give 1 to %zu", drafters.size(), Drafting::kMostDrafters);
  made.drafting = Drafting(drafters, options.clock);
  MLC_ASSIGN(made.text, OwnedArray<int32_t>::create(systemAllocator(), target.context() + 1, "text"));
  MLC_ASSIGN(made.rows, OwnedArray<int32_t>::create(systemAllocator(), target.maxRows(), "rows"));
  return made;
}

/// Judges the drafted tokens by the target's logits and draws the one behind those that stay; how many stayed.
Result<unsigned> Speculator::judgeAll(Round &round, LogitsView logits, unsigned drafted) {
  uint64_t seed = round.options.sampling.seed;
  round.count = 0;
  for (unsigned i = 0;; ++i) {
    const Draft *draft = i < drafted ? &drafting[i] : nullptr;
    MLC_ASSIGN(Verdict verdict,
               judge(round.sampler, logits.row(i), {}, draft, seed, round.generated + round.count, options.redraw));
    if (draft) {
      ++counts.judged[i];
      counts.stayed[i] += verdict.stays;
      drafting.learn(i, verdict.stays);
    }
    round.ended = !round.options.ignoreEnd && target->model().isEndToken(verdict.token);
    if (round.ended)
      return i + verdict.stays;
    round.sampler.accept(verdict.token);
    round.tokens[round.count++] = verdict.token;
    if (!verdict.stays)
      return i;
  }
}

/// The target reads the text's last token and the drafted ones, fewer where its states have no room for all.
Result<LogitsView> Speculator::verify(SequenceId sequence, const Round &round, unsigned &drafted) {
  for (;;) {
    int32_t tokens[kMaxDraftTokens + 1] = {text[round.textSize - 1]};
    for (unsigned i = 0; i < drafted; ++i)
      tokens[i + 1] = drafting[i].token;
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
  double start = options.clock();
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
  auto fed = feedPrompt(*target, sequence, prompt, given, rows.span());
  if (!fed)
    return cancelledOr(fed.error(), result);
  LogitsView logits = *fed;
  double draftStart = options.clock();
  auto promptSteps = (prompt.size() + target->batch() - 1) / target->batch();
  costs.learnPrompt(prompt.size() / promptSteps, (draftStart - start) / double(promptSteps));
  if (Status started = drafting.start(given, {text.data(), round.textSize}); !started)
    return cancelledOr(started.error(), result);
  if (Status read = drafting.read(SIZE_MAX); !read)
    return cancelledOr(read.error(), result);
  double fedAt = options.clock(), firstAt = fedAt;
  counts.draftPromptMs += fedAt - draftStart;
  result.promptMs = fedAt - start;

  int64_t length = held + int64_t(prompt.size());
  // The last new token is never fed, so it needs no position.
  uint64_t room = target->context() - uint64_t(length) + 1;
  uint64_t most = given.maxTokens ? std::min(given.maxTokens, room) : room;
  unsigned drafted = 0;
  double begin = fedAt, verifyBegin = fedAt;
  for (bool stepped = false;; stepped = true) {
    MLC_ASSIGN(unsigned stayed, judgeAll(round, logits, drafted));
    // The rows that gave tokens are those of the tokens that the sequence keeps.
    unsigned came = round.count + round.ended;
    double now = options.clock();
    if (stepped) {
      length += came;
      MLC_TRY(target->rollback(sequence, length));
      double judged = now;
      now = options.clock();
      counts.rollbackMs += now - judged;
      count(drafted, stayed, now - verifyBegin);
      costs.learn(drafted + 1, now - verifyBegin);
      policy.learn({drafted > 0, drafting.tried(), stayed < drafted, 1, came, now - begin, costs.at(1)});
      drafting.endRound(drafted > 0);
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
        result.generateMs = options.clock() - firstAt;
        return result;
      }
    }
    append({round.tokens, round.count});
    round.generated += round.count;
    if (round.ended)
      result.finish = FinishReason::stop;
    if (round.ended || result.tokens == most)
      break;

    begin = options.clock();
    auto left = unsigned(std::min<uint64_t>(most - result.tokens - 1, longest));
    drafting.begin({text.data(), round.textSize});
    auto made =
        drafting.draft(policy, costs.round(), given.sampling.seed, round.generated, {left, !options.draftTokens});
    verifyBegin = options.clock();
    counts.draftMs += verifyBegin - begin;
    auto read = made ? verify(sequence, round, drafted = *made) : Result<LogitsView>(made.error());
    if (!read) {
      result.generateMs = options.clock() - firstAt;
      return cancelledOr(read.error(), result);
    }
    logits = *read;
  }
  result.generateMs = options.clock() - firstAt;
  return result;
}

} // namespace mlc
