//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Choices.h"

#include "runtime/llm/RowNorm.h"

#include <algorithm>

namespace mlc {

Result<ChoiceScorer> ChoiceScorer::create(Session &session) {
  ChoiceScorer scorer(session);
  const Allocator &from = systemAllocator();
  MLC_ASSIGN(scorer.held, OwnedArray<int32_t>::create(from, session.context(), "choices"));
  MLC_ASSIGN(scorer.rows, OwnedArray<int32_t>::create(from, session.maxRows(), "choices"));
  size_t lanes = std::max(size_t(session.sequences() - 1), size_t(1));
  MLC_ASSIGN(scorer.lanes, OwnedArray<Lane>::create(from, lanes, "choices"));
  for (Lane &lane : scorer.lanes)
    lane.sequence = SequenceId::none;
  MLC_ASSIGN(scorer.segments, OwnedArray<StepSegment>::create(from, lanes, "choices"));
  MLC_ASSIGN(scorer.laneOf, OwnedArray<uint32_t>::create(from, lanes, "choices"));
  return scorer;
}

ChoiceScorer::ChoiceScorer(ChoiceScorer &&other) noexcept
    : session(other.session), sequence(std::exchange(other.sequence, SequenceId::none)), heldCount(other.heldCount),
      held(std::move(other.held)), rows(std::move(other.rows)), lanes(std::move(other.lanes)),
      segments(std::move(other.segments)), laneOf(std::move(other.laneOf)), fed(other.fed) {}

ChoiceScorer::~ChoiceScorer() { drop(sequence); }

void ChoiceScorer::drop(SequenceId &dropped) {
  if (dropped != SequenceId::none)
    (void)session->destroySequence(dropped);
  dropped = SequenceId::none;
}

/// Tokens at which both begin.
static size_t commonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return size_t(std::mismatch(a.begin(), a.begin() + ptrdiff_t(std::min(a.size(), b.size())), b.begin()).first -
                a.begin());
}

static Result<double> logProbability(std::span<const float> row, int32_t token) {
  double value = double(row[size_t(token)]) - normOf(row).logSum;
  if (!std::isfinite(value))
    return Error(ErrorCode::Internal, "the logits are not finite");
  return value;
}

Status ChoiceScorer::score(std::span<const Choice> choices, std::span<double> logLikelihoods) {
  for (const Choice &choice : choices) {
    if (choice.tokens.size() > session->context() + 1)
      return Error(ErrorCode::OutOfRange, "%zu tokens do not fit the context of %llu", choice.tokens.size(),
                   (unsigned long long)session->context());
    if (!choice.scored || choice.scored >= choice.tokens.size())
      return Error(ErrorCode::InvalidArgument, "a choice needs a token, and one before it");
    for (int32_t token : choice.tokens)
      if (token < 0 || uint64_t(token) >= session->model().bounds().vocab)
        return Error(ErrorCode::OutOfRange, "token id %d is outside the vocabulary of %llu", token,
                     (unsigned long long)session->model().bounds().vocab);
  }
  if (!session->model().promptForm())
    return scoreTogether(choices, logLikelihoods);
  for (size_t i = 0; i < choices.size(); ++i) {
    drop(sequence);
    MLC_TRY(scoreTogether(choices.subspan(i, 1), logLikelihoods.subspan(i, 1)));
  }
  return {};
}

Status ChoiceScorer::scoreTogether(std::span<const Choice> choices, std::span<double> logLikelihoods) {
  size_t shared = choices[0].scored, longest = 0;
  for (const Choice &choice : choices) {
    shared = std::min({shared, choice.scored, commonPrefix(choices[0].tokens, choice.tokens)});
    longest = std::max(longest, choice.tokens.size());
  }
  if (!shared)
    return Error(ErrorCode::InvalidArgument, "the choices have no token in common to begin with");
  auto formLength = int64_t(std::min<uint64_t>(longest, session->context()));
  std::span<const float> last;
  MLC_TRY(advance(choices[0].tokens.first(shared), formLength, last));
  for (size_t i = 0; i < choices.size(); ++i) {
    logLikelihoods[i] = 0;
    if (choices[i].scored == shared) {
      MLC_ASSIGN(logLikelihoods[i], logProbability(last, choices[i].tokens[shared]));
    }
  }
  Status branched = branch(choices, shared, formLength, logLikelihoods);
  for (Lane &lane : lanes) {
    lane.live = false;
    drop(lane.sequence);
  }
  return branched;
}

/// Makes `sequence` hold the prefix, of which at least the last token is fed now; its logits are left in `last`.
Status ChoiceScorer::advance(std::span<const int32_t> prefix, int64_t formLength, std::span<const float> &last) {
  size_t kept = sequence == SequenceId::none
                    ? 0
                    : std::min(commonPrefix(prefix, held.span().first(heldCount)), prefix.size() - 1);
  if (kept) { // States may reach back to a checkpoint only.
    MLC_ASSIGN(int64_t reached, session->reachable(sequence, int64_t(kept)));
    kept = size_t(std::max<int64_t>(reached, 0));
  }
  if (!kept || !session->rollback(sequence, int64_t(kept))) {
    drop(sequence);
    kept = 0;
    MLC_ASSIGN(sequence, session->createSequence(formLength));
  }
  heldCount = kept;
  while (heldCount < prefix.size()) {
    std::span<const int32_t> tokens =
        prefix.subspan(heldCount, std::min(size_t(session->batch()), prefix.size() - heldCount));
    bool wanted = heldCount + tokens.size() == prefix.size();
    rows[0] = int32_t(tokens.size() - 1);
    StepSegment segment{sequence, tokens};
    MLC_ASSIGN(LogitsView logits, session->step({&segment, 1}, rows.span().first(wanted)));
    if (wanted)
      last = logits.row(0);
    memcpy(held.data() + heldCount, tokens.data(), tokens.size_bytes());
    heldCount += tokens.size();
    fed += tokens.size();
  }
  return {};
}

/// A sequence that holds the prefix and may go on: a fork, or the prefix's own where there is only one sequence.
Status ChoiceScorer::start(Lane &lane, std::span<const int32_t> prefix, int64_t formLength) {
  drop(lane.sequence);
  if (session->sequences() > 1) {
    MLC_ASSIGN(lane.sequence, session->fork(sequence));
    return {};
  }
  if (sequence == SequenceId::none) {
    heldCount = 0;
    std::span<const float> last;
    MLC_TRY(advance(prefix, formLength, last));
  }
  lane.sequence = std::exchange(sequence, SequenceId::none);
  return {};
}

/// Feeds what the choices do not share, as many at a time as there are sequences to fork the prefix into.
Status ChoiceScorer::branch(std::span<const Choice> choices, size_t shared, int64_t formLength,
                            std::span<double> logLikelihoods) {
  size_t next = 0;
  for (;;) {
    bool any = false;
    for (Lane &lane : lanes) {
      // A choice of one token is scored by the shared part alone.
      while (!lane.live && next < choices.size() && choices[next].tokens.size() == shared + 1)
        ++next;
      if (!lane.live && next < choices.size()) {
        MLC_TRY(start(lane, choices[0].tokens.first(shared), formLength));
        lane = {lane.sequence, next++, shared, true};
      }
      any |= lane.live;
    }
    if (!any)
      return {};
    MLC_TRY(stepLanes(choices, logLikelihoods));
  }
}

/// One step of as many tokens of the live lanes as its bounds allow; every one gives a row of logits.
Status ChoiceScorer::stepLanes(std::span<const Choice> choices, std::span<double> logLikelihoods) {
  size_t left = std::min(size_t(session->batch()), rows.size()), count = 0, total = 0;
  for (uint32_t i = 0; i < lanes.size() && left; ++i) {
    if (!lanes[i].live)
      continue;
    std::span<const int32_t> rest = choices[lanes[i].choice].tokens.subspan(lanes[i].at);
    segments[count] = {lanes[i].sequence, rest.first(std::min(left, rest.size() - 1))};
    laneOf[count] = i;
    left -= segments[count].tokens.size();
    total += segments[count++].tokens.size();
  }
  for (size_t row = 0; row < total; ++row)
    rows[row] = int32_t(row);
  MLC_ASSIGN(LogitsView logits, session->step(segments.span().first(count), rows.span().first(total)));
  fed += total;
  size_t row = 0;
  for (size_t i = 0; i < count; ++i) {
    Lane &lane = lanes[laneOf[i]];
    const Choice &choice = choices[lane.choice];
    for (size_t token = 0; token < segments[i].tokens.size(); ++token, ++row)
      if (++lane.at >= choice.scored) {
        MLC_ASSIGN(double value, logProbability(logits.row(row), choice.tokens[lane.at]));
        logLikelihoods[lane.choice] += value;
      }
    lane.live = lane.at + 1 < choice.tokens.size();
  }
  return {};
}

} // namespace mlc
