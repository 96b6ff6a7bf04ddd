//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/EngineImpl.h"

#include "runtime/llm/Generate.h"
#include "runtime/server/engine/Scores.h"

#include <algorithm>

namespace mlc::server {

/// One row of logits: of token `position` of the lane.
struct Engine::Impl::RowWork {
  Lane *lane;
  size_t position;
  bool samples; // The lane's next token; else the prompt's next one is scored.
};

struct Engine::Impl::RowResult {
  int32_t token = -1;
  RowScore score;
  bool grammarEnds = false; // Nothing can follow, and the text may end.
  ErrorCode code = ErrorCode::Ok;
  std::string message;
};

/// Times what the model is not known by yet; a server that starts has no client waiting. The first step reads the
/// weights from the disk and counts for nothing.
void Engine::Impl::calibrate() {
  constexpr double kMostMs = 1500;
  constexpr struct {
    uint64_t tokens;
    bool logits;
  } kSteps[] = {{1, true}, {1, false}, {1, true}, {4, false}, {8, false}, {16, false}, {32, false}};
  double begin = monotonicMs();
  for (size_t i = 0; i < std::size(kSteps) && monotonicMs() - begin < kMostMs; ++i) {
    uint64_t count = std::min({kSteps[i].tokens, session->batch(), session->context()});
    std::vector<int32_t> tokens(size_t(count), 0), row { int32_t(count) - 1 };
    // The faster of two: what comes between makes a step longer, never shorter.
    double best = 0;
    for (int turn = 0; turn < 2; ++turn) {
      auto sequence = session->createSequence(int64_t(count));
      if (!sequence)
        return;
      StepSegment segment{*sequence, tokens};
      double start = monotonicMs();
      auto stepped = session->step({&segment, 1}, std::span(row).first(kSteps[i].logits));
      double ms = monotonicMs() - start;
      (void)session->destroySequence(*sequence);
      if (!stepped)
        return;
      best = turn ? std::min(best, ms) : ms;
    }
    StepShape measured;
    measured.add(0, int64_t(count), kSteps[i].logits);
    if (i)
      cost.learn(measured, best);
  }
}

void Engine::Impl::oneStep() {
  double start = monotonicMs();
  plan();
  if (pieces.empty())
    return;
  Status ran = runStep();
  if (!ran) {
    if (ran.error().code() == ErrorCode::Cancelled)
      return;
    if (ran.error().code() == ErrorCode::OutOfMemory && freeMemory())
      return;
    std::vector<Job *> failed;
    for (const Piece &piece : pieces)
      if (std::find(failed.begin(), failed.end(), &piece.lane->job) == failed.end())
        failed.push_back(&piece.lane->job);
    for (Job *job : failed)
      failJob(*job, FinishReason::error, ran.error().code(), ran.error().message());
    return;
  }
  StepShape done = shape;
  for (const Piece &piece : pieces) {
    piece.lane->held += piece.count;
    piece.lane->round = round;
  }
  {
    std::lock_guard guard(statsLock);
    ++counted.steps;
    counted.processedTokens += uint64_t(done.tokens);
  }
  handleRows();
  double ms = monotonicMs() - start;
  cost.learn(done, ms);
  std::lock_guard guard(statsLock);
  counted.stepTime.add(ms / 1000);
  counted.sequencesUsed = active.size();
  counted.cacheEntries = cache.size();
  counted.cacheEvictions = cache.evictions();
  counted.kvBytes = session->kvBytes();
  counted.kvBytesUsed = session->kvBytesUsed();
}

Status Engine::Impl::runStep() {
  segments.clear();
  stepRows.clear();
  size_t at = 0;
  bool hiddenWanted = false;
  for (const Piece &piece : pieces) {
    segments.push_back({piece.lane->sequence, std::span(piece.lane->tokens).subspan(piece.lane->held, piece.count)});
    at += piece.count;
    for (size_t row = piece.rows; row; --row)
      stepRows.push_back(int32_t(at - row));
    hiddenWanted |= piece.lane->job.embeds();
  }
  {
    std::lock_guard guard(lock);
    for (const Piece &piece : pieces)
      stepJobs.push_back(&piece.lane->job);
    if (stopping)
      session->requestCancel();
  }
  hidden.observe(*session, hiddenWanted);
  auto stepped = session->step(segments, stepRows);
  {
    std::lock_guard guard(lock);
    stepJobs.clear();
    session->clearCancel();
  }
  if (!stepped)
    return stepped.error();
  logits = *stepped;
  return {};
}

/// Draws and scores all rows on the workers, then hands their results out in order.
void Engine::Impl::handleRows() {
  std::vector<RowWork> works;
  for (const Piece &piece : pieces)
    for (size_t row = 0; row < piece.rows; ++row) {
      size_t position = piece.lane->held - piece.rows + row;
      works.push_back({piece.lane, position, position + 1 == piece.lane->tokens.size()});
    }
  std::vector<RowResult> results(works.size());
  session->workers().parallelFor(int64_t(works.size()), 1, [&](int64_t begin, int64_t end, unsigned worker) {
    for (int64_t i = begin; i < end; ++i)
      results[size_t(i)] = workRow(works[size_t(i)], logits.row(size_t(i)), worker);
  });
  for (size_t i = 0; i < works.size(); ++i) {
    Lane &lane = *works[i].lane;
    if (lane.job.done || lane.finished)
      continue;
    if (!lane.answering)
      takePromptRow(works[i], results[i]);
    if (lane.job.embeds()) {
      std::span<const float> row = hidden.row(i);
      for (size_t column = 0; column < row.size(); ++column)
        lane.job.pooled[column] += double(row[column]);
    }
    if (!works[i].samples)
      continue;
    if (!lane.answering)
      promptFed(lane);
    if (lane.job.embeds() || lane.generated() >= lane.job.mostNew)
      finishLane(lane, lane.job.embeds() ? FinishReason::stop : FinishReason::length);
    else
      takeToken(lane, results[i]);
  }
}

/// Runs on a worker; the lane's sampler and constraint are this row's alone.
Engine::Impl::RowResult Engine::Impl::workRow(const RowWork &work, std::span<const float> row, unsigned worker) {
  RowResult result;
  Lane &lane = *work.lane;
  Job &job = lane.job;
  if (job.embeds())
    return result;
  if (!work.samples) {
    result.token = lane.tokens[work.position + 1];
    result.score = scoreRow(row, result.token, size_t(job.request.promptLogprobs));
    return result;
  }
  if (lane.generated() >= job.mostNew)
    return result;
  auto fail = [&](const Error &error) {
    result.code = error.code();
    result.message = error.message();
  };
  std::span<const uint64_t> allowed;
  if (lane.constraint) {
    std::vector<uint64_t> &mask = masks[worker];
    mask.assign((row.size() + 63) / 64, 0);
    if (Status masked = lane.constraint->mask(mask); !masked) {
      result.grammarEnds = lane.constraint->canEnd();
      if (!result.grammarEnds)
        fail(masked.error());
      return result;
    }
    allowed = mask;
  }
  OwnedArray<Sampler::Candidate> &room = candidateRooms[worker];
  if (room.size() != row.size()) {
    auto made = OwnedArray<Sampler::Candidate>::create(systemAllocator(), row.size(), "sampler");
    if (!made) {
      fail(made.error());
      return result;
    }
    room = std::move(*made);
  }
  lane.sampler->useCandidates(room.span());
  auto token = lane.sampler->sample(row, allowed);
  if (!token) {
    fail(token.error());
    return result;
  }
  result.token = *token;
  if (job.scoresAnswer())
    result.score = scoreRow(row, result.token, size_t(std::max(job.request.logprobs, 0)));
  return result;
}

/// The row of a prompt's token scores the one after it.
void Engine::Impl::takePromptRow(const RowWork &work, RowResult &result) {
  Job &job = work.lane->job;
  if (work.samples || !job.scoresPrompt())
    return;
  TokenRecord &record = job.promptRecords[work.position + 1];
  record.scored = true;
  record.logprob = result.score.logprob;
  record.top = std::move(result.score.top);
}

/// The lane's first token comes now.
void Engine::Impl::promptFed(Lane &lane) {
  lane.answering = true;
  Job &job = lane.job;
  if (lane.index)
    return;
  job.promptDone = true;
  if (job.request.echo)
    sendPrompt(lane);
  // States that cannot be rolled back from far are kept where the candidates, and a next turn, go on from.
  auto limit = lane.held ? session->rollbackLimit(lane.sequence) : Result<int64_t>(0);
  if (job.sharesPrefixes() && lane.held && (job.candidates > 1 || (limit && *limit > 0)))
    cache.insert(lane.sequence, std::span(lane.tokens).first(lane.held), job.form);
}

void Engine::Impl::takeToken(Lane &lane, RowResult &result) {
  Job &job = lane.job;
  const Request &request = job.request;
  if (result.code != ErrorCode::Ok)
    return failJob(job, FinishReason::error, result.code, result.message);
  Release released;
  if (result.grammarEnds) {
    lane.text.finish(released);
    deliver(lane, released);
    return finishLane(lane, FinishReason::stop);
  }
  double now = monotonicMs();
  ++job.usage.completionTokens;
  {
    std::lock_guard guard(statsLock);
    ++counted.completionTokens;
    if (lane.lastTokenMs > 0)
      counted.interToken.add((now - lane.lastTokenMs) / 1000);
    else if (!lane.index)
      counted.firstToken.add((now - job.submittedMs) / 1000);
  }
  if (!job.firstTokenMs)
    job.firstTokenMs = now;
  lane.lastTokenMs = now;
  lane.logprobs += double(result.score.logprob);
  bool stops =
      std::find(request.stopTokens.begin(), request.stopTokens.end(), result.token) != request.stopTokens.end();
  if (stops || (!request.ignoreEnd && model.isEndToken(result.token))) {
    lane.end.stopToken = result.token;
    lane.text.finish(released);
    deliver(lane, released);
    return finishLane(lane, FinishReason::stop);
  }
  if (lane.constraint)
    if (Status accepted = lane.constraint->accept(result.token); !accepted)
      return failJob(job, FinishReason::error, accepted.error().code(), accepted.error().message());
  lane.sampler->accept(result.token);
  lane.tokens.push_back(result.token);
  TokenRecord record;
  record.token = result.token;
  record.scored = request.logprobs >= 0;
  record.logprob = result.score.logprob;
  record.top = std::move(result.score.top);
  lane.end.stopIndex = lane.text.add(std::move(record), released);
  bool full = lane.generated() == job.mostNew;
  if (lane.end.stopIndex < 0 && full)
    lane.text.finish(released);
  deliver(lane, released);
  if (lane.end.stopIndex >= 0)
    finishLane(lane, FinishReason::stop);
  else if (full)
    finishLane(lane, FinishReason::length);
}

} // namespace mlc::server
