//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/speculate/Drafting.h"

#include <algorithm>

namespace mlc {

Result<unsigned> longestDraft(const Session &target, unsigned wanted) {
  uint64_t most = std::min({target.batch(), target.maxRows(), uint64_t(kMaxDraftTokens) + 1}) - 1;
  if (wanted > kMaxDraftTokens)
    return Error(ErrorCode::InvalidArgument, "%u draft tokens: choose 1 to %u, or leave it to what is measured", wanted,
                 kMaxDraftTokens);
  if (!most || wanted > most)
    return Error(ErrorCode::OutOfRange,
                 "%s: its steps take %llu tokens, a draft at most one less; compile it with a larger --batch",
                 target.model().name(), (unsigned long long)most + 1);
  return wanted ? wanted : unsigned(most);
}

Drafting::Drafting(std::span<Drafter *const> drafters, double (*clock)()) : clock(clock) {
  for (Drafter *drafter : drafters)
    sources[count++] = {drafter, DraftEstimate(drafter->costShare(), drafter->claims())};
}

Status Drafting::start(const GenerateOptions &options, std::span<const int32_t> text) {
  for (Source &each : all())
    MLC_TRY(each.drafter->start(options, text));
  return {};
}

void Drafting::begin(std::span<const int32_t> text) {
  source = nullptr;
  for (Source &each : all())
    each.ready = each.drafter->begin(text);
}

Status Drafting::read(size_t most) {
  for (Source &each : all()) {
    size_t behind = each.drafter->behind();
    if (!behind)
      continue;
    double begin = clock();
    MLC_TRY(each.drafter->read(most));
    each.estimate.learnRead(behind - each.drafter->behind(), clock() - begin);
  }
  return {};
}

size_t Drafting::behind() const {
  size_t most = 0;
  for (const Source &each : all())
    most = std::max(most, each.drafter->behind());
  return most;
}

double Drafting::readMs(size_t tokens, double plainMs) const {
  double ms = 0;
  for (const Source &each : all())
    ms += each.drafter->behind() ? each.estimate.readMs(tokens, plainMs) : 0;
  return ms;
}

void Drafting::leaveOut(size_t most) {
  for (Source &each : all())
    each.drafter->leaveOut(most);
}

Result<unsigned> Drafting::draft(LengthPolicy &policy, const RoundCosts &costs, uint64_t seed, uint64_t place,
                                 const Limits &limits) {
  if (!limits.most || (limits.automatic && policy.wantsPlain(costs)))
    return 0u;
  bool compares = limits.automatic || (count > 1 && costs.plain() > 0);
  double rate = 0;
  unsigned most = limits.most;
  for (Source &candidate : all()) {
    if (!candidate.ready)
      continue;
    Drafter &drafter = *candidate.drafter;
    size_t behind = drafter.behind();
    if (limits.automatic && behind > kShortRead && !policy.affords(candidate.estimate.readMs(behind, costs.plain())))
      drafter.leaveOut(kShortRead);
    LengthPolicy::Plan plan{limits.most, limits.most, 1};
    // Whoever fixed the length of the only drafter has decided.
    if (compares)
      plan = policy.plan(costs, candidate.estimate, limits.most, drafter.behind(), drafter.expectedConfidence());
    if ((plan.length || !limits.automatic) && plan.rate > rate) {
      rate = plan.rate;
      source = &candidate;
      most = limits.automatic ? plan.most : limits.most;
    }
  }
  if (!source)
    return 0u;
  policy.begin(rate);
  DraftEstimate &estimate = source->estimate;
  unsigned confidence = source->drafter->expectedConfidence(), drafted = 0;
  while (drafted < most && (!limits.automatic || policy.goesOn(costs, estimate, drafted, most, confidence))) {
    double begin = clock();
    size_t behind = drafted ? 0 : source->drafter->behind();
    Draft &next = drafts[drafted];
    MLC_ASSIGN(bool came, source->drafter->next(drawFor(Draw::draft, seed, place + drafted), next));
    if (!came)
      break;
    estimate.learnCost(behind, clock() - begin);
    // A distribution decides, never the token drawn from it: what comes out would no longer be the target's.
    if (limits.automatic && !policy.keeps(costs, estimate, drafted, most, next.confidence))
      break;
    ++drafted;
  }
  return drafted;
}

void Drafting::endRound(bool drafted) {
  for (Source &each : all())
    if (!drafted || &each != source)
      each.estimate.forget();
}

} // namespace mlc
