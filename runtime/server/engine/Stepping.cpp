//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/EngineImpl.h"

#include "runtime/llm/Generate.h"
#include "runtime/server/engine/Scores.h"

#include <algorithm>

namespace mlc::server {

/// Rows of logits that are worked on one after the other: one of token `position` of the lane, or that and those of the
/// tokens drafted behind it.
struct Engine::Impl::RowWork {
  Lane *lane;
  size_t row, position;
  bool samples; // The lane's next token; else the prompt's next one is scored.
  unsigned drafted = 0;
  unsigned judged = 0; // Rows that gave a token.
};

struct Engine::Impl::RowResult {
  int32_t token = -1;
  RowScore score;
  bool stays = false;       // A drafted token: the next row counts.
  bool ends = false;        // An end token, or one of the request's stop tokens.
  bool grammarEnds = false; // Nothing can follow, and the text may end.
  ErrorCode code = ErrorCode::Ok;
  std::string message;
};

/// Times what the model is not known by yet; a server that starts has no client waiting. The first step reads the
/// weights from the disk and counts for nothing.
void Engine::Impl::calibrate() {
  struct Step {
    uint64_t tokens, rows;
  };
  // Drafted tokens have a row each.
  constexpr Step kPlain[] = {{1, 1}, {1, 0}, {1, 1}, {4, 0}, {8, 0}, {16, 0}, {32, 0}};
  constexpr Step kDrafting[] = {{1, 1}, {1, 0}, {1, 1}, {4, 0},  {4, 4},   {2, 2},
                                {8, 0}, {8, 8}, {3, 3}, {16, 0}, {16, 16}, {32, 0}};
  std::span<const Step> steps = speculation ? std::span<const Step>(kDrafting) : kPlain;
  double begin = monotonicMs(), most = speculation ? 4000 : 1500;
  for (size_t i = 0; i < steps.size() && monotonicMs() - begin < most; ++i) {
    uint64_t count = std::min({steps[i].tokens, session->batch(), session->context()});
    uint64_t wanted = std::min({steps[i].rows, count, session->maxRows()});
    std::vector<int32_t> tokens(size_t(count), 0), rows;
    for (uint64_t row = count - wanted; row < count; ++row)
      rows.push_back(int32_t(row));
    // The faster of two: what comes between makes a step longer, never shorter.
    double best = 0;
    for (int turn = 0; turn < 2; ++turn) {
      auto sequence = session->createSequence(int64_t(count));
      if (!sequence)
        return;
      StepSegment segment{*sequence, tokens};
      double start = monotonicMs();
      auto stepped = session->step({&segment, 1}, rows);
      double ms = monotonicMs() - start;
      (void)session->destroySequence(*sequence);
      if (!stepped)
        return;
      best = turn ? std::min(best, ms) : ms;
    }
    StepShape measured;
    measured.add(0, int64_t(count), int64_t(wanted));
    if (i)
      cost.learn(measured, best);
  }
}

void Engine::Impl::oneStep() {
  plan();
  if (pieces.empty())
    return;
  draftTokens();
  double start = monotonicMs();
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
  unsigned tokens = handleRows();
  double ms = monotonicMs() - start;
  cost.learn(done, ms);
  if (speculating)
    speculation->learn(tokens, ms);
  std::lock_guard guard(statsLock);
  counted.stepTime.add(ms / 1000);
  counted.sequencesUsed = active.size();
  counted.cacheEntries = cache.size();
  counted.cacheEvictions = cache.evictions();
  counted.kvBytes = session->kvBytes();
  counted.kvBytesUsed = session->kvBytesUsed();
}

/// A step of answers alone takes drafted tokens, too.
void Engine::Impl::draftTokens() {
  speculating = speculation && std::all_of(pieces.begin(), pieces.end(), [](const Piece &piece) {
                  return piece.lane->answering && piece.lane->remaining() == 1;
                });
  if (!speculating)
    return;
  const StepShape plain = shape;
  if (Status drafted = speculation->draft(pieces, shape, cost, options.stepMs); !drafted) {
    (void)stopDrafting();
    shape = plain;
    speculating = false;
    std::lock_guard guard(statsLock);
    ++counted.draftFailures;
  }
}

/// The answers of this step go on without drafts. True: somebody gave up something.
bool Engine::Impl::stopDrafting() {
  bool any = false;
  for (Piece &piece : pieces) {
    any |= piece.lane->draft != nullptr;
    speculation->detach(*piece.lane);
    piece.count -= piece.drafted;
    piece.rows -= piece.drafted;
    piece.drafted = 0;
  }
  return any;
}

/// Row `row` of a piece's: a device draws the token of one that is wanted for nothing else.
void Engine::Impl::addDraw(const Piece &piece, size_t row) {
  const Lane &lane = *piece.lane;
  const Job &job = lane.job;
  bool samples = row + 1 == piece.rows && lane.held + piece.count == lane.tokens.size();
  if (!samples || piece.drafted || job.embeds() || job.scoresAnswer() || lane.constraint)
    return drawing.addLogits();
  drawing.add(*lane.sampler, drawFor(Draw::token, lane.seed(), lane.generated()));
}

Status Engine::Impl::runStep() {
  segments.clear();
  drawing.clear();
  stepRows.clear();
  draftedTokens.clear();
  draftedTokens.reserve(size_t(session->batch())); // Segments point into it.
  size_t at = 0;
  bool hiddenWanted = false;
  for (const Piece &piece : pieces) {
    std::span<const int32_t> tokens(piece.lane->tokens);
    tokens = tokens.subspan(piece.lane->held, piece.count - piece.drafted);
    if (piece.drafted) {
      size_t begin = draftedTokens.size();
      draftedTokens.push_back(tokens.front());
      for (unsigned i = 0; i < piece.drafted; ++i)
        draftedTokens.push_back(piece.lane->draft->drafting[i].token);
      tokens = std::span<const int32_t>(draftedTokens).subspan(begin);
    }
    segments.push_back({piece.lane->sequence, tokens});
    at += piece.count;
    for (size_t row = 0; row < piece.rows; ++row) {
      stepRows.push_back(int32_t(at - piece.rows + row));
      addDraw(piece, row);
    }
    hiddenWanted |= piece.lane->job.embeds();
  }
  MLC_TRY(hidden.observe(*session, hiddenWanted));
  {
    std::lock_guard guard(lock);
    for (const Piece &piece : pieces)
      stepJobs.push_back(&piece.lane->job);
    if (stopping)
      session->requestCancel();
  }
  auto stepped = session->step(segments, stepRows, drawing.draws());
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

/// Draws and scores all rows on the workers, then hands their results out in order. How many tokens came.
unsigned Engine::Impl::handleRows() {
  std::vector<RowWork> works;
  size_t rowCount = 0;
  for (const Piece &piece : pieces) {
    size_t begin = piece.lane->held - piece.rows;
    if (piece.drafted)
      works.push_back({piece.lane, rowCount, begin, true, piece.drafted});
    for (size_t row = 0; row < piece.rows && !piece.drafted; ++row)
      works.push_back({piece.lane, rowCount + row, begin + row, begin + row + 1 == piece.lane->tokens.size()});
    rowCount += piece.rows;
  }
  std::vector<RowResult> results(rowCount);
  session->workers().parallelFor(int64_t(works.size()), 1, [&](int64_t begin, int64_t end, unsigned worker) {
    for (int64_t i = begin; i < end; ++i)
      workOn(works[size_t(i)], std::span(results).subspan(works[size_t(i)].row), worker);
  });
  unsigned tokens = 0;
  for (const RowWork &done : works) {
    tokens += done.judged;
    Lane &lane = *done.lane;
    if (lane.job.done || lane.finished)
      continue;
    if (!lane.answering)
      takePromptRow(done, results[done.row]);
    if (lane.job.embeds()) {
      std::span<const float> row = hidden.row(done.row);
      for (size_t column = 0; column < row.size(); ++column)
        lane.job.pooled[column] += double(row[column]);
    }
    if (!done.samples)
      continue;
    if (!lane.answering)
      promptFed(lane);
    if (lane.job.embeds() || lane.generated() >= lane.job.mostNew)
      finishLane(lane, lane.job.embeds() ? FinishReason::stop : FinishReason::length);
    else
      takeTokens(done, std::span(results).subspan(done.row, done.judged));
  }
  return tokens;
}

/// Runs on a worker; the lane's sampler, constraint and drafts are this work's alone.
void Engine::Impl::workOn(RowWork &work, std::span<RowResult> results, unsigned worker) {
  Lane &lane = *work.lane;
  Job &job = lane.job;
  if (job.embeds())
    return;
  if (!work.samples) {
    results[0].token = lane.tokens[work.position + 1];
    results[0].score = scoreRow(logits.row(work.row), results[0].token, size_t(job.request.promptLogprobs));
    return;
  }
  if (lane.generated() >= job.mostNew)
    return;
  for (bool goesOn = true; goesOn;) {
    unsigned i = work.judged++;
    const Draft *draft = i < work.drafted ? &lane.draft->drafting[i] : nullptr;
    RowResult &result = results[i];
    if (Status drawn = takeRow(lane, work.row + i, draft, lane.generated() + i, worker, result); !drawn) {
      result.code = drawn.error().code();
      result.message = drawn.error().message();
    } else if (draft && !result.grammarEnds) {
      lane.draft->drafting.learn(i, result.stays);
    }
    goesOn = result.stays && !result.ends && result.code == ErrorCode::Ok;
  }
}

/// Draws the lane's token at `place` of its answer.
Status Engine::Impl::judgeRow(Lane &lane, std::span<const float> row, const Draft *draft, uint64_t place,
                              unsigned worker, RowResult &result) {
  std::span<const uint64_t> allowed;
  if (lane.constraint) {
    std::vector<uint64_t> &mask = masks[worker];
    mask.assign((row.size() + 63) / 64, 0);
    if (Status masked = lane.constraint->mask(mask); !masked) {
      result.grammarEnds = lane.constraint->canEnd();
      return result.grammarEnds ? Status() : Status(masked.error());
    }
    allowed = mask;
  }
  OwnedArray<Sampler::Candidate> &room = candidateRooms[worker];
  if (room.size() != row.size()) {
    MLC_ASSIGN(room, OwnedArray<Sampler::Candidate>::create(systemAllocator(), row.size(), "sampler"));
  }
  lane.sampler->useCandidates(room.span());
  MLC_ASSIGN(Verdict verdict, judge(*lane.sampler, row, allowed, draft, lane.seed(), place));
  result.token = verdict.token;
  result.stays = verdict.stays;
  if (lane.job.scoresAnswer())
    result.score = scoreRow(row, result.token, size_t(std::max(lane.job.request.logprobs, 0)));
  return {};
}

/// The lane's token at `place` of its answer, which the device has drawn, or is drawn now.
Status Engine::Impl::takeRow(Lane &lane, size_t row, const Draft *draft, uint64_t place, unsigned worker,
                             RowResult &result) {
  if (logits.drawn(row)) {
    MLC_ASSIGN(result.token, logits.token(row));
  } else {
    MLC_TRY(judgeRow(lane, logits.row(row), draft, place, worker, result));
    if (result.grammarEnds)
      return {};
  }
  const Request &request = lane.job.request;
  bool stops =
      std::find(request.stopTokens.begin(), request.stopTokens.end(), result.token) != request.stopTokens.end();
  result.ends = stops || (!request.ignoreEnd && model.isEndToken(result.token));
  if (result.ends)
    return {};
  if (lane.constraint)
    MLC_TRY(lane.constraint->accept(result.token));
  lane.sampler->accept(result.token);
  return {};
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
  if (speculation && !job.embeds())
    if (Status attached = speculation->attach(lane); !attached) {
      std::lock_guard guard(statsLock);
      ++counted.draftFailures;
    }
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

/// Takes the tokens that came of a row, or of one and those of drafts.
void Engine::Impl::takeTokens(const RowWork &work, std::span<RowResult> results) {
  Lane &lane = *work.lane;
  if (work.drafted) {
    // The last token is never in the sequence.
    lane.held -= 1 + work.drafted - results.size();
    if (Status back = session->rollback(lane.sequence, int64_t(lane.held)); !back)
      return failJob(lane.job, FinishReason::error, back.error().code(), back.error().message());
    std::lock_guard guard(statsLock);
    counted.draftedTokens += work.drafted;
    for (const RowResult &result : results)
      counted.acceptedTokens += result.stays;
  }
  for (RowResult &result : results) {
    takeToken(lane, result);
    if (lane.finished)
      return;
  }
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
  if (result.ends) {
    lane.end.stopToken = result.token;
    lane.text.finish(released);
    deliver(lane, released);
    return finishLane(lane, FinishReason::stop);
  }
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
