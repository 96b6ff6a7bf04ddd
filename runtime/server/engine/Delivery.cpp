//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/EngineImpl.h"

#include "runtime/llm/Generate.h"

#include <algorithm>
#include <cmath>

namespace mlc::server {

/// What the sink is told refers to the records for the time of the call.
static std::vector<TokenInfo> infos(std::span<const TokenRecord> records) {
  std::vector<TokenInfo> all;
  all.reserve(records.size());
  for (const TokenRecord &record : records)
    all.push_back(record.info());
  return all;
}

void Engine::Impl::sendTokens(Job &job, uint32_t choice, const Release &released) {
  std::vector<TokenInfo> tokens = infos(released.tokens);
  if (!job.sink->onTokens({choice, released.text, tokens}))
    job.cancelled = true;
}

/// Hands on what the answer has set free, or keeps it until the candidates are ranked.
void Engine::Impl::deliver(Lane &lane, Release &released) {
  Job &job = lane.job;
  if (released.empty())
    return;
  if (!job.ranked())
    return sendTokens(job, lane.index, released);
  Release &log = job.logs[lane.index];
  log.text += released.text;
  std::move(released.tokens.begin(), released.tokens.end(), std::back_inserter(log.tokens));
}

void Engine::Impl::sendPrompt(Lane &lane) {
  Job &job = lane.job;
  for (size_t i = 0; i < job.promptRecords.size(); ++i)
    job.promptRecords[i].token = job.request.prompt[i];
  std::vector<TokenInfo> tokens = infos(job.promptRecords);
  job.sink->onPrompt({job.promptText, tokens});
  job.promptRecords = {};
}

void Engine::Impl::finishLane(Lane &lane, FinishReason reason) {
  Job &job = lane.job;
  lane.finished = true;
  lane.end.reason = reason;
  if (speculation)
    speculation->detach(lane);
  // A token that ended the answer is scored but not part of it.
  size_t scored = lane.generated() + (lane.end.stopToken >= 0);
  lane.end.meanLogprob = scored ? lane.logprobs / double(scored) : 0;
  closeSequence(lane, true);
  std::erase(active, &lane);
  for (Lane *other : active)
    other->parked = false;
  if (job.embeds()) {
    double count = job.request.pooling == Pooling::mean ? double(job.request.prompt.size()) : 1;
    std::vector<float> embedding;
    for (double sum : job.pooled)
      embedding.push_back(float(sum / count));
    job.sink->onEmbedding(embedding);
  } else if (!job.ranked()) {
    job.sink->onFinish(lane.end);
  }
  if (++job.finished < job.candidates)
    return;
  if (job.ranked())
    sendRanked(job);
  endJob(job, job.lanes[0]->end.reason, ErrorCode::Ok, {});
}

/// The best `n` candidates by mean log-probability, of equals the first.
void Engine::Impl::sendRanked(Job &job) {
  std::vector<Lane *> ranked;
  for (const std::unique_ptr<Lane> &lane : job.lanes)
    if (lane)
      ranked.push_back(lane.get());
  std::sort(ranked.begin(), ranked.end(), [](const Lane *a, const Lane *b) {
    return a->end.meanLogprob != b->end.meanLogprob ? a->end.meanLogprob > b->end.meanLogprob : a->index < b->index;
  });
  ranked.resize(std::min(ranked.size(), size_t(job.request.n)));
  for (uint32_t choice = 0; choice < ranked.size(); ++choice) {
    Lane &lane = *ranked[choice];
    if (!job.logs[lane.index].empty())
      sendTokens(job, choice, job.logs[lane.index]);
    lane.end.choice = choice;
    job.sink->onFinish(lane.end);
  }
}

/// Ends all of a request, wherever it stands. After a deadline the client has what there is.
void Engine::Impl::failJob(Job &job, FinishReason reason, ErrorCode code, std::string_view message) {
  if (job.done)
    return;
  bool keep = reason != FinishReason::error;
  for (const std::unique_ptr<Lane> &lane : job.lanes) {
    if (!lane || lane->finished)
      continue;
    lane->finished = true;
    lane->end.reason = reason;
    if (speculation)
      speculation->detach(*lane);
    lane->end.meanLogprob = lane->generated() ? lane->logprobs / double(lane->generated()) : -INFINITY;
    closeSequence(*lane, keep);
    std::erase(active, lane.get());
    if (reason == FinishReason::deadline && !job.embeds()) {
      Release released;
      lane->text.finish(released);
      deliver(*lane, released);
      if (!job.ranked())
        job.sink->onFinish(lane->end);
    }
  }
  for (Lane *other : active)
    other->parked = false;
  if (reason == FinishReason::deadline && !job.embeds()) {
    if (job.ranked())
      sendRanked(job);
    for (uint32_t choice = job.ranked() ? std::min(job.started, job.request.n) : job.started; choice < job.request.n;
         ++choice) {
      FinishEvent never;
      never.choice = choice;
      never.reason = reason;
      job.sink->onFinish(never);
    }
  }
  endJob(job, reason, code, message);
}

void Engine::Impl::endJob(Job &job, FinishReason reason, ErrorCode code, std::string_view message) {
  job.done = true;
  double now = monotonicMs();
  auto since = [&](double ms) { return ms > 0 ? ms - job.submittedMs : 0; };
  {
    std::lock_guard guard(statsLock);
    ++counted.finished[size_t(reason)];
    counted.requestTime.add((now - job.submittedMs) / 1000);
    counted.sequencesUsed = active.size();
    counted.cacheEntries = cache.size();
    counted.kvBytesUsed = session->kvBytesUsed();
  }
  job.sink->onDone(
      {job.id, reason, code, message, job.usage, {since(job.startedMs), since(job.firstTokenMs), since(now)}});
  {
    std::lock_guard guard(lock);
    if (!job.started)
      --waiting;
    else
      meanServiceMs += (now - job.startedMs - meanServiceMs) / 8;
    queue.remove(job);
    activeCount = active.size();
    auto entry = jobs.find(uint64_t(job.id));
    ended.push_back(std::move(entry->second));
    jobs.erase(entry);
    if (jobs.empty())
      idle.notify_all();
  }
}

} // namespace mlc::server
