//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/EngineImpl.h"

#include "runtime/llm/Generate.h"

#include <algorithm>

namespace mlc::server {

/// Slots go to one client after the other; a request's later candidates wait until its first has fed the prompt, which
/// they then share.
void Engine::Impl::giveSlots() {
  while (active.size() < session->sequences()) {
    std::shared_ptr<Job> job;
    {
      std::lock_guard guard(lock);
      job = queue.next([](const Job &other) { return !other.started || other.promptDone; });
      if (!job)
        return;
      if (job->started + 1 == job->candidates)
        queue.remove(*job);
      if (!job->started)
        --waiting;
      activeCount = active.size() + 1;
    }
    startLane(std::move(job));
  }
}

void Engine::Impl::startLane(std::shared_ptr<Job> job) {
  const Request &request = job->request;
  if (!job->started) {
    job->startedMs = monotonicMs();
    job->usage.promptTokens = request.prompt.size();
    job->lanes.resize(job->candidates);
    if (job->ranked())
      job->logs.resize(job->candidates);
    if (request.echo)
      job->promptRecords.resize(request.prompt.size());
    std::lock_guard guard(statsLock);
    counted.queueTime.add((job->startedMs - job->submittedMs) / 1000);
    counted.promptTokens += request.prompt.size();
  }
  uint32_t index = job->started++;
  job->lanes[index] = std::make_unique<Lane>(*job, index, model.tokenizer());
  Lane &lane = *job->lanes[index];
  active.push_back(&lane);
  if (job->embeds()) {
    job->pooled.assign(hidden.width(), 0);
    return;
  }
  auto sampler = Sampler::createSharing(size_t(model.bounds().vocab), lane.samplingOptions(), request.bias);
  if (!sampler)
    return failJob(*job, FinishReason::error, sampler.error().code(), sampler.error().message());
  lane.sampler.emplace(std::move(*sampler));
  lane.sampler->acceptPrompt(request.prompt);
  if (index < job->constraints.size())
    lane.constraint = job->constraints[index];
  std::string text;
  lane.text.setPrompt(request.prompt, request.echo, text, index ? std::span<TokenRecord>() : job->promptRecords);
  if (!index && request.echo)
    job->promptText = std::move(text);
  // Nothing to compute.
  if (!job->mostNew && !job->scoresPrompt()) {
    promptFed(lane);
    finishLane(lane, FinishReason::length);
  }
}

/// Gives the lane a sequence that holds as much of its tokens as anyone has processed; one token is left to feed.
Status Engine::Impl::openSequence(Lane &lane) {
  if (lane.job.sharesPrefixes() && !lane.needsAllRows()) {
    bool hit = sharePrefix(lane);
    std::lock_guard guard(statsLock);
    ++counted.cacheLookups;
    counted.cacheHits += hit;
    if (hit && !lane.answering && !lane.index) {
      lane.job.usage.cachedTokens = lane.held;
      counted.cachedTokens += lane.held;
    }
    if (hit)
      return {};
  }
  MLC_ASSIGN(lane.sequence, session->createSequence(int64_t(lane.job.request.prompt.size())));
  lane.held = 0;
  return {};
}

bool Engine::Impl::sharePrefix(Lane &lane) {
  std::span<const int32_t> tokens = std::span(lane.tokens).first(lane.tokens.size() - 1);
  PrefixCache::Match match = cache.find(tokens, lane.job.form);
  const Lane *from = nullptr;
  for (const Lane *other : active) {
    if (other == &lane || other->sequence == SequenceId::none || !other->job.sharesPrefixes() ||
        other->job.form != lane.job.form)
      continue;
    size_t shared =
        reusable(*session, other->sequence, commonPrefix(std::span(other->tokens).first(other->held), tokens));
    if (shared <= match.tokens)
      continue;
    match.tokens = shared;
    from = other;
  }
  if (!match.tokens)
    return false;
  auto made = from ? session->fork(from->sequence) : session->createSequence();
  if (!made)
    return false;
  if ((!from && !session->restore(*made, match.snapshot)) || !session->rollback(*made, int64_t(match.tokens))) {
    (void)session->destroySequence(*made);
    return false;
  }
  lane.sequence = *made;
  lane.held = match.tokens;
  return true;
}

/// `keep`: what it holds stays in the prefix cache.
void Engine::Impl::closeSequence(Lane &lane, bool keep) {
  if (lane.sequence == SequenceId::none)
    return;
  // An answer may end before tokens that were drafted for it and read.
  if (lane.held > lane.tokens.size()) {
    keep &= bool(session->rollback(lane.sequence, int64_t(lane.tokens.size())));
    lane.held = lane.tokens.size();
  }
  if (keep && lane.job.sharesPrefixes())
    cache.insert(lane.sequence, std::span(lane.tokens).first(lane.held), lane.job.form);
  (void)session->destroySequence(std::exchange(lane.sequence, SequenceId::none));
  lane.held = 0;
}

/// After a step that found no page: lets go what is kept for nobody, then drafts, then what the lane that came last
/// holds, which is computed again once another has ended. False when one lane alone needs more than there is.
bool Engine::Impl::freeMemory() {
  if (cache.evict() || (speculating && stopDrafting()))
    return true;
  auto moving = [](const Lane *lane) { return !lane->parked; };
  auto last = std::find_if(active.rbegin(), active.rend(), moving);
  if (last == active.rend() || std::find_if(last + 1, active.rend(), moving) == active.rend())
    return false;
  Lane &lane = **last;
  closeSequence(lane, false);
  lane.parked = true;
  std::fill(lane.job.pooled.begin(), lane.job.pooled.end(), 0);
  std::lock_guard guard(statsLock);
  ++counted.preemptions;
  return true;
}

} // namespace mlc::server
