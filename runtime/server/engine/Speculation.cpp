//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/Speculation.h"

#include <algorithm>

namespace mlc::server {

namespace {

// What reading a prompt for an answer's draft may take, as a share of what the answer takes without one.
constexpr double kReadShare = 0.02;

} // namespace

Result<std::unique_ptr<Speculation>> Speculation::create(const EngineOptions &options, Session &target) {
  const DraftOptions &wanted = options.draft;
  if (!wanted.model && !wanted.ngram)
    return std::unique_ptr<Speculation>();
  std::unique_ptr<Speculation> made(new Speculation(target));
  MLC_ASSIGN(made->most, longestDraft(target, wanted.tokens));
  made->automatic = !wanted.tokens;
  if (wanted.model) {
    MLC_TRY(checkVocabulary(target.model(), *wanted.model));
    SessionOptions bounds = draftBounds(target, options.session.context, target.sequences(), options.session.maxMemory);
    bounds.sessionClass = options.session.sessionClass;
    bounds.allocator = options.session.allocator;
    bounds.snapshots = 0;
    auto session = Session::create(*wanted.model, bounds);
    if (!session)
      return Error(session.error().code(), "%s: %s", wanted.model->name(), session.error().message());
    made->session.reset(*session);
  }
  for (uint64_t i = 0; i < target.sequences(); ++i) {
    auto slot = std::make_unique<DraftSlot>();
    MLC_TRY(slot->drafters.open(made->session.get(), target, wanted.ngram));
    slot->drafting = Drafting(slot->drafters.all());
    made->slots.push_back(std::move(slot));
  }
  return made;
}

Status Speculation::attach(Lane &lane) {
  DraftSlot *best = nullptr;
  size_t agreement = 0;
  for (const std::unique_ptr<DraftSlot> &slot : slots) {
    if (slot->taken)
      continue;
    const ModelDrafter *model = slot->drafters.model();
    size_t same = model ? model->agreement(lane.tokens) : 0;
    if (best && same <= agreement)
      continue;
    best = slot.get();
    agreement = same;
  }
  if (!best)
    return Error(ErrorCode::Internal, "no drafter is free");
  // The drafter's text stays in its place.
  lane.tokens.reserve(lane.job.request.prompt.size() + size_t(lane.job.mostNew));
  GenerateOptions options;
  options.sampling = lane.samplingOptions();
  options.bias = lane.job.request.bias;
  MLC_TRY(best->drafting.start(options, lane.tokens));
  best->taken = true;
  lane.draft = best;
  return {};
}

void Speculation::detach(Lane &lane) {
  if (lane.draft)
    std::exchange(lane.draft, nullptr)->taken = false;
}

/// The first drafter that is behind reads on, for about `ms`.
Status Speculation::readOn(std::span<const Piece> pieces, double ms) {
  for (const Piece &piece : pieces) {
    const Lane &lane = *piece.lane;
    if (!lane.draft)
      continue;
    Drafting &drafting = lane.draft->drafting;
    size_t behind = drafting.behind();
    if (!automatic) {
      MLC_TRY(drafting.read(behind)); // So that what is drafted does not depend on the clock.
      continue;
    }
    if (behind <= kShortRead)
      continue;
    double all = drafting.readMs(behind, plainMs), bearable = kReadShare * plainMs * double(lane.job.mostNew);
    if (lane.generated() <= 1 && all > bearable) {
      drafting.leaveOut(std::max(kShortRead, size_t(double(behind) * bearable / all)));
      behind = drafting.behind();
      all = drafting.readMs(behind, plainMs);
    }
    return drafting.read(all > ms ? std::max(kShortRead, size_t(double(behind) * ms / all)) : behind);
  }
  return {};
}

/// What steps over `shape` and drafted tokens of the lane would take; those beyond the bounds are out of reach.
RoundCosts Speculation::costsOf(const Lane &lane, const StepShape &shape, const CostModel &cost, double boundMs) const {
  RoundCosts costs;
  costs.ms[0] = cost.predict(shape);
  uint64_t left = lane.job.mostNew - lane.generated();
  // The last new token is never fed.
  uint64_t room = std::min(
      {uint64_t(most), left - 1, target.batch() - uint64_t(shape.tokens), target.maxRows() - uint64_t(shape.rows)});
  for (unsigned drafted = 1; drafted <= room; ++drafted) {
    StepShape with = shape;
    with.add(int64_t(lane.held) + 1, drafted, drafted);
    costs.ms[drafted] = cost.predict(with);
    if (automatic && costs.ms[drafted] > boundMs)
      break;
    costs.reach = drafted;
  }
  return costs;
}

Status Speculation::draft(std::span<Piece> pieces, StepShape &shape, const CostModel &cost, double boundMs) {
  plainMs = cost.predict(shape);
  for (const Piece &piece : pieces)
    if (piece.lane->draft)
      piece.lane->draft->drafting.begin(piece.lane->tokens);
  MLC_TRY(readOn(pieces, boundMs / 2));
  draftMs = 0;
  inRound.clear();
  sequences = unsigned(pieces.size());
  double expected = double(pieces.size());
  // A step that is longer than the bound as it is may become twice as long.
  boundMs = std::max(boundMs, 2 * plainMs);
  for (Piece &piece : pieces) {
    Lane &lane = *piece.lane;
    if (!lane.draft)
      continue;
    Drafting &drafting = lane.draft->drafting;
    if (automatic && drafting.behind() > kShortRead)
      continue; // Still reading.
    RoundCosts costs = costsOf(lane, shape, cost, boundMs);
    costs.others = expected - 1;
    costs.before = draftMs;
    double begin = monotonicMs();
    MLC_ASSIGN(piece.drafted, drafting.draft(policy, costs, lane.seed(), lane.generated(), {costs.reach, automatic}));
    draftMs += monotonicMs() - begin;
    inRound.push_back({lane.draft, piece.drafted > 0});
    if (!piece.drafted)
      continue;
    expected += policy.expected() - 1;
    shape.add(int64_t(lane.held) + 1, piece.drafted, piece.drafted);
    piece.count += piece.drafted;
    piece.rows += piece.drafted;
  }
  return {};
}

void Speculation::learn(unsigned tokens, double stepMs) {
  LengthPolicy::Round round;
  round.sequences = sequences;
  round.tokens = tokens;
  round.ms = draftMs + stepMs;
  round.plainMs = plainMs;
  for (const Drafted &drafted : inRound) {
    round.drafted |= drafted.any;
    round.tried |= drafted.slot->drafting.tried();
    drafted.slot->drafting.endRound(drafted.any);
  }
  policy.learn(round);
}

} // namespace mlc::server
