//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/speculate/ModelDrafter.h"

#include <algorithm>
#include <cmath>

namespace mlc {

Status checkVocabulary(const Model &target, const Model &draft) {
  constexpr const char *remedy = "a draft needs the target's vocabulary";
  const Tokenizer *wanted = target.tokenizer(), *given = draft.tokenizer();
  if (!wanted || !given) {
    if (wanted || given)
      return Error(ErrorCode::InvalidArgument, "%s: has %s tokenizer, and %s has %s; %s", draft.name(),
                   given ? "a" : "no", target.name(), wanted ? "one" : "none", remedy);
    if (target.bounds().vocab != draft.bounds().vocab)
      return Error(ErrorCode::InvalidArgument, "%s: a vocabulary of %llu tokens, and %s has %llu; %s", draft.name(),
                   (unsigned long long)draft.bounds().vocab, target.name(), (unsigned long long)target.bounds().vocab,
                   remedy);
    return {};
  }
  // Ids past the tokens, which pad a matrix, may differ in number.
  uint32_t most = std::max(wanted->vocabSize(), given->vocabSize());
  for (uint32_t id = 0; id < most; ++id) {
    std::string_view here = given->tokenText(id), there = wanted->tokenText(id);
    bool same = given->isHole(id) == wanted->isHole(id) && given->isSpecial(id) == wanted->isSpecial(id);
    if (here != there || !same)
      return Error(ErrorCode::InvalidArgument, "%s: token %u is '%.*s'%s, and in %s '%.*s'%s; %s", draft.name(), id,
                   int(std::min<size_t>(here.size(), 40)), here.data(), given->isSpecial(id) ? " (special)" : "",
                   target.name(), int(std::min<size_t>(there.size(), 40)), there.data(),
                   wanted->isSpecial(id) ? " (special)" : "", remedy);
  }
  return {};
}

Result<ModelDrafter *> ModelDrafter::create(Session &draft, const Session &target) {
  if (draft.context() != target.context())
    return Error(ErrorCode::InvalidArgument,
                 "%s: a context of %llu, and %s has %llu; compile it for the same, or lower both with --context %llu",
                 draft.model().name(), (unsigned long long)draft.context(), target.model().name(),
                 (unsigned long long)target.context(), (unsigned long long)std::min(draft.context(), target.context()));
  const Allocator &allocator = draft.model().allocator();
  void *memory = allocator.allocate(allocator.context, sizeof(ModelDrafter), alignof(ModelDrafter));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for a drafter");
  Owned<ModelDrafter> made(new (memory) ModelDrafter(draft, target));
  made->share = double(draft.model().fileBytes()) / double(std::max<uint64_t>(target.model().fileBytes(), 1));
  made->vocab = size_t(std::min(draft.model().bounds().vocab, target.model().bounds().vocab));
  MLC_ASSIGN(made->held, OwnedArray<int32_t>::create(allocator, draft.context(), "draft"));
  MLC_ASSIGN(made->distributions,
             OwnedArray<float>::create(allocator, uint64_t(kMaxDraftTokens) * made->vocab, "draft"));
  MLC_ASSIGN(made->candidates, OwnedArray<Sampler::Candidate>::create(allocator, made->vocab, "draft"));
  return made.release();
}

void ModelDrafter::destroy(ModelDrafter *drafter) {
  if (drafter->sequence != SequenceId::none)
    (void)drafter->session.destroySequence(drafter->sequence);
  const Allocator &allocator = drafter->session.model().allocator();
  drafter->~ModelDrafter();
  allocator.release(allocator.context, drafter, sizeof(ModelDrafter));
}

/// Makes the sequence hold the first `length` tokens of what it has read, or fewer where its states reach no further
/// back.
Status ModelDrafter::keep(size_t length) {
  MLC_ASSIGN(int64_t reached, session.reachable(sequence, int64_t(length)));
  MLC_TRY(session.rollback(sequence, std::max<int64_t>(reached, 0)));
  fed = size_t(std::max<int64_t>(reached, 0));
  return {};
}

/// Reads `tokens`, at least one, in steps of the session's batch; the logits behind the last one.
Result<std::span<const float>> ModelDrafter::feed(std::span<const int32_t> tokens) {
  for (;;) {
    // A long text is read in many steps, and the target's flag is not the draft's.
    if (target.cancelFlag().load(std::memory_order_relaxed))
      return Error(ErrorCode::Cancelled, "cancelled");
    size_t size = std::min(size_t(session.batch()), tokens.size());
    StepSegment segment{sequence, tokens.first(size)};
    auto last = int32_t(size - 1);
    MLC_ASSIGN(LogitsView logits, session.step({&segment, 1}, {&last, size == tokens.size() ? 1u : 0u}));
    memcpy(held.data() + fed, tokens.data(), size * sizeof(int32_t));
    fed += size;
    tokens = tokens.subspan(size);
    if (tokens.empty())
      return logits.row(0).first(vocab);
  }
}

Status ModelDrafter::start(const GenerateOptions &options, std::span<const int32_t> settled) {
  MLC_ASSIGN(sampler, Sampler::createSharing(vocab, options.sampling, options.bias));
  sampler.useCandidates(candidates.span());
  sampler.acceptPrompt(settled);
  temperature = options.sampling.temperature > 0 ? options.sampling.temperature : 1;
  count = 0;
  counted = settled.size();
  text = {};
  skipped = 0;
  unknown = false;
  // A RoPE form that depends on the length of the prompt is another one now.
  if (sequence != SequenceId::none && session.model().promptForm()) {
    MLC_TRY(session.destroySequence(sequence));
    sequence = SequenceId::none;
  }
  if (sequence == SequenceId::none) {
    MLC_ASSIGN(sequence, session.createSequence(int64_t(settled.size())));
    fed = 0;
  }
  // The last token is always read anew.
  MLC_TRY(keep(std::min(agreement(settled), settled.size() - 1)));
  know(settled);
  return {};
}

size_t ModelDrafter::agreement(std::span<const int32_t> other) const {
  size_t same = 0, most = std::min(fed, other.size());
  while (same < most && held[same] == other[same])
    ++same;
  return same;
}

/// Drops drafts that did not stay from the sequence.
Status ModelDrafter::settle() {
  MLC_ASSIGN(int64_t length, session.length(sequence));
  return size_t(length) == fed ? Status() : keep(fed);
}

Status ModelDrafter::read(size_t most) {
  if (unknown)
    return {};
  MLC_TRY(settle());
  size_t count = std::min(most, behind());
  if (!count)
    return {};
  auto logits = feed(text.subspan(fed + skipped, count));
  return logits ? Status() : Status(logits.error());
}

/// Takes `settled` as the text.
void ModelDrafter::know(std::span<const int32_t> settled) {
  for (size_t i = text.size(); i < settled.size(); ++i)
    unknown |= settled[i] < 0 || size_t(settled[i]) >= session.model().bounds().vocab;
  text = settled;
}

bool ModelDrafter::begin(std::span<const int32_t> settled) {
  while (count)
    sampler.retract(drafted[--count]);
  for (; counted < settled.size(); ++counted)
    sampler.accept(settled[counted]);
  // What was drafted and stayed has been read already; the last token is always read anew.
  size_t same = std::min(text.size() - skipped, fed), most = std::min(fed, settled.size() - skipped - 1);
  while (same < most && held[same] == settled[same + skipped])
    ++same;
  fed = std::min(same, most);
  know(settled);
  return !unknown;
}

/// How far the likeliest token is ahead of the next one, as a class: a measure of confidence that needs no normaliser.
static unsigned marginClass(std::span<const float> logits, float temperature) {
  constexpr size_t lanes = 16;
  float first[lanes], second[lanes];
  std::fill(first, first + lanes, -INFINITY);
  std::fill(second, second + lanes, -INFINITY);
  size_t whole = logits.size() / lanes * lanes;
  auto take = [&](size_t lane, float x) {
    float lower = x < first[lane] ? x : first[lane];
    second[lane] = second[lane] < lower ? lower : second[lane];
    first[lane] = first[lane] < x ? x : first[lane];
  };
  for (size_t i = 0; i < whole; i += lanes)
    for (size_t lane = 0; lane < lanes; ++lane)
      take(lane, logits[i + lane]);
  for (size_t i = whole; i < logits.size(); ++i)
    take(0, logits[i]);
  for (size_t lane = 1; lane < lanes; ++lane) {
    take(0, first[lane]);
    take(0, second[lane]);
  }
  float margin = (first[0] - second[0]) / temperature;
  constexpr float borders[] = {0.4f, 0.9f, 1.5f, 2.2f, 3.0f, 4.2f, 6.0f};
  static_assert(std::size(borders) + 1 == kConfidenceClasses);
  unsigned confidence = 0;
  for (float border : borders)
    confidence += margin >= border; // NaN is least sure.
  return confidence;
}

const Claims &ModelDrafter::claims() const {
  static constexpr Claims byMargin = {0.40f, 0.50f, 0.62f, 0.75f, 0.85f, 0.92f, 0.96f, 0.98f};
  return byMargin;
}

Result<bool> ModelDrafter::next(double uniform, Draft &draft) {
  if (unknown || count == kMaxDraftTokens || text.size() - skipped + count > session.context())
    return false;
  if (!count)
    MLC_TRY(settle());
  std::span<const int32_t> tokens =
      count ? std::span<const int32_t>(drafted + count - 1, 1) : text.subspan(fed + skipped);
  MLC_ASSIGN(std::span<const float> logits, feed(tokens));
  draft = {};
  draft.confidence = marginClass(logits, temperature);
  std::span<float> row = distributions.span().subspan(count * vocab, vocab);
  if (sampler.drawsFromAll()) {
    MLC_ASSIGN(draft.scale, sampler.weigh(logits, row));
    draft.token = Sampler::drawFrom(row, uniform);
    draft.distribution = row;
  } else {
    MLC_ASSIGN(std::span<const Sampler::Candidate> candidate, sampler.distribution(logits));
    draft.token = candidate.size() == 1 ? candidate[0].token : Sampler::drawFrom(candidate, uniform);
    if (candidate.size() > 1) {
      memset(row.data(), 0, row.size_bytes());
      for (const Sampler::Candidate &one : candidate)
        row[size_t(one.token)] = one.probability;
      draft.distribution = row;
    }
  }
  drafted[count++] = draft.token;
  sampler.accept(draft.token);
  return true;
}

} // namespace mlc
