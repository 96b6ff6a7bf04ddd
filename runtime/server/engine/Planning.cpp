//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/EngineImpl.h"

#include <algorithm>

namespace mlc::server {

/// A smaller piece of a prompt is not worth its part in a step of answers: it gets a step of its own.
constexpr size_t kLeastChunk = 8;

void Engine::Impl::addPiece(Lane &lane, size_t count) {
  size_t rows = lane.needsAllRows() ? count : count == lane.remaining();
  shape.add(int64_t(lane.held), int64_t(count), int64_t(rows));
  pieces.push_back({&lane, count, rows});
}

/// Tokens of the lane that the step can still take within its bounds and `budget` ms.
size_t Engine::Impl::chunk(const Lane &lane, double budget) const {
  bool all = lane.needsAllRows();
  size_t room = size_t(session->batch()) - size_t(shape.tokens), rows = size_t(session->maxRows()) - size_t(shape.rows);
  size_t most = std::min(lane.remaining(), room);
  if (all)
    most = std::min(most, rows);
  else if (!rows)
    most = std::min(most, lane.remaining() - 1);
  return size_t(cost.fit(shape, int64_t(lane.held), int64_t(most), all, budget));
}

/// Whether a lane that has no sequence yet could share a page more if it waited for a prompt of this step.
bool Engine::Impl::waitsForPrefix(const Lane &lane) const {
  return lane.job.sharesPrefixes() && !lane.needsAllRows() &&
         std::any_of(pieces.begin(), pieces.end(), [&](const Piece &piece) {
           const Lane &other = *piece.lane;
           size_t common = commonPrefix(other.tokens, lane.tokens);
           return other.job.sharesPrefixes() && other.job.form == lane.job.form &&
                  std::min(common, other.held + piece.count) >= other.held + size_t(kPagePositions);
         });
}

/// One prompt after the other, the first that came first: it answers soonest, and later ones may share what it leaves.
void Engine::Impl::planPrompts(std::span<Lane *const> prompts, double budget) {
  for (Lane *lane : prompts) {
    if (lane->sequence == SequenceId::none && waitsForPrefix(*lane))
      return;
    if (lane->sequence == SequenceId::none)
      if (Status opened = openSequence(*lane); !opened) {
        failJob(lane->job, FinishReason::error, opened.error().code(), opened.error().message());
        pieces.clear();
        return;
      }
    size_t count = chunk(*lane, budget);
    if (!count && pieces.empty())
      count = 1;
    if (!count)
      return;
    addPiece(*lane, count);
    if (lane->remaining() > count)
      return;
  }
}

/// Answers go in rounds: each gets one token, in as many steps as the time of a step asks for; then prompts, in what is
/// left of the round's last step or in a step of their own. So tokens come evenly, and prompts go on at a rate that
/// falls with the number of answers.
void Engine::Impl::plan() {
  pieces.clear();
  shape = {};
  std::vector<Lane *> answers, prompts;
  for (Lane *lane : active) {
    if (lane->parked)
      continue;
    bool next = lane->answering && lane->sequence != SequenceId::none && lane->remaining() == 1;
    (next ? answers : prompts).push_back(lane);
  }
  if (answers.empty())
    return planPrompts(prompts, options.promptStepMs);
  auto due = [&](const Lane *lane) { return lane->round != round; };
  if (std::none_of(answers.begin(), answers.end(), due)) {
    if (!prompts.empty() && !promptsWent) {
      promptsWent = true;
      return planPrompts(prompts, options.stepMs);
    }
    ++round;
    promptsWent = false;
  }
  auto most = size_t(std::min(session->batch(), session->maxRows()));
  for (Lane *lane : answers) {
    if (!due(lane))
      continue;
    StepShape with = shape;
    with.add(int64_t(lane->held), 1, 1);
    if (!pieces.empty() && (pieces.size() == most || cost.atMost(with) > options.stepMs))
      return;
    addPiece(*lane, 1);
  }
  if (prompts.empty() || promptsWent)
    return;
  const Lane &first = *prompts.front();
  if (chunk(first, options.stepMs) < std::min(kLeastChunk, first.remaining()))
    return;
  promptsWent = true;
  planPrompts(prompts, options.stepMs);
}

} // namespace mlc::server
