//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/EngineImpl.h"

#include "runtime/llm/Generate.h"

#include <algorithm>

namespace mlc::server {

const char *finishReasonName(FinishReason reason) {
  switch (reason) {
  case FinishReason::stop:
    return "stop";
  case FinishReason::length:
    return "length";
  case FinishReason::cancelled:
    return "cancelled";
  case FinishReason::deadline:
    return "deadline";
  case FinishReason::error:
    return "error";
  }
  return "error";
}

// Weyl's sequence of the golden ratio: distinct for every candidate.
uint64_t candidateSeed(uint64_t seed, uint32_t candidate) { return seed + candidate * 0x9E3779B97F4A7C15; }

void Histogram::add(double seconds) {
  ++counts[size_t(std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin())];
  sum += seconds;
  ++count;
}

Result<std::unique_ptr<Engine>> Engine::create(const Model &model, const EngineOptions &options) {
  EngineOptions settled = options;
  // One snapshot more than entries, so that a new one is taken before an old one goes.
  settled.session.snapshots = options.cacheEntries + 1;
  MLC_ASSIGN(Session * made, Session::create(model, settled.session));
  Owned<Session> session(made);
  MLC_ASSIGN(std::unique_ptr<Speculation> speculation, Speculation::create(settled, *session));
  MLC_ASSIGN(StepDrawing drawing, StepDrawing::create(*session));
  return std::unique_ptr<Engine>(new Engine(
      std::make_unique<Impl>(model, settled, std::move(session), std::move(speculation), std::move(drawing))));
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
Engine::~Engine() = default;
Submission Engine::submit(Request request, std::shared_ptr<Sink> sink) {
  return impl->submit(std::move(request), std::move(sink));
}
void Engine::cancel(RequestId id) { impl->cancel(id); }
void Engine::drain() { impl->drain(); }
void Engine::stop() { impl->stop(); }
bool Engine::waitIdle(double ms) { return impl->waitIdle(ms); }
EngineStats Engine::stats() const { return impl->stats(); }
const Model &Engine::model() const { return impl->theSession().model(); }
uint64_t Engine::context() const { return impl->theSession().context(); }
Status Engine::embeddingSupport() const { return impl->embeddings(); }
size_t Engine::embeddingSize() const { return impl->embeddingSize(); }

Engine::Impl::Impl(const Model &model, const EngineOptions &options, Owned<Session> made,
                   std::unique_ptr<Speculation> drafts, StepDrawing draws)
    : model(model), options(options), session(std::move(made)), hidden(model), forms(model),
      cache(*session, options.cacheEntries), speculation(std::move(drafts)), drawing(std::move(draws)) {
  thread = std::thread([this] { run(); });
}

Engine::Impl::~Impl() { stop(); }

void Engine::Impl::stop() {
  {
    std::lock_guard guard(lock);
    stopping = draining = true;
    if (!stepJobs.empty())
      session->requestCancel();
  }
  work.notify_one();
  if (thread.joinable())
    thread.join();
}

Submission Engine::Impl::submit(Request request, std::shared_ptr<Sink> sink) {
  Submission submission = validate(request, *session, hidden.support());
  if (submission.outcome != Submission::Outcome::accepted)
    return submission;
  auto job = std::make_shared<Job>();
  uint64_t room = session->context() - request.prompt.size() + 1;
  job->mostNew = std::min(request.maxTokens, room);
  job->candidates = std::max(request.n, request.bestOf);
  job->fairnessKey = request.fairnessKey;
  job->form = forms.form(request.prompt.size());
  job->submittedMs = monotonicMs();
  if (double ms = request.deadlineMs > 0 ? request.deadlineMs : options.deadlineMs; ms > 0)
    job->deadlineMs = job->submittedMs + ms;
  if (request.constraint)
    for (uint32_t i = 0; i < job->candidates; ++i) {
      auto made = request.constraint();
      if (!made)
        return {Submission::Outcome::invalid, RequestId::none, "constraint", made.error().message(), 0};
      job->constraints.push_back(std::move(*made));
    }
  job->request = std::move(request);
  job->sink = std::move(sink);
  {
    std::lock_guard guard(lock);
    if (draining) {
      submission.outcome = Submission::Outcome::draining;
      submission.message = "the server is shutting down";
      return submission;
    }
    uint64_t freeSlots = session->sequences() - std::min(session->sequences(), activeCount);
    if (waiting >= options.queue + freeSlots) {
      submission.outcome = Submission::Outcome::queueFull;
      submission.message = "too many requests wait; try again later";
      // Until the one that came first of those that wait gets a slot, as long as requests have taken so far.
      submission.retryAfterSeconds =
          std::clamp(meanServiceMs * double(waiting + 1) / double(session->sequences()) / 1000, 1.0, 120.0);
    } else {
      submission.id = job->id = RequestId(nextId++);
      jobs.emplace(uint64_t(job->id), job);
      queue.push(std::move(job));
      ++waiting;
    }
  }
  bool accepted = submission.outcome == Submission::Outcome::accepted;
  if (accepted)
    work.notify_one();
  std::lock_guard guard(statsLock);
  ++(accepted ? counted.accepted : counted.refusedFull);
  return submission;
}

void Engine::Impl::cancel(RequestId id) {
  {
    std::lock_guard guard(lock);
    auto job = jobs.find(uint64_t(id));
    if (job == jobs.end())
      return;
    job->second->cancelled = true;
    // A step that nobody waits for any more ends now; one of others too is short.
    bool forNobody = !stepJobs.empty() &&
                     std::all_of(stepJobs.begin(), stepJobs.end(), [](const Job *of) { return of->cancelled.load(); });
    if (forNobody)
      session->requestCancel();
  }
  work.notify_one();
}

void Engine::Impl::drain() {
  std::lock_guard guard(lock);
  draining = true;
}

bool Engine::Impl::waitIdle(double ms) {
  std::unique_lock guard(lock);
  return idle.wait_for(guard, std::chrono::duration<double, std::milli>(ms), [&] { return jobs.empty(); });
}

EngineStats Engine::Impl::stats() const {
  EngineStats copy;
  {
    std::lock_guard guard(statsLock);
    copy = counted;
  }
  std::lock_guard guard(lock);
  copy.queued = waiting;
  copy.running = jobs.size() - waiting;
  copy.sequences = session->sequences();
  copy.draining = draining;
  return copy;
}

/// Whether to go on.
bool Engine::Impl::waitForWork() {
  std::unique_lock guard(lock);
  auto ready = [&] { return stopping || !jobs.empty(); };
  work.wait(guard, ready);
  return !stopping;
}

void Engine::Impl::run() {
  unsigned workers = session->workers().size();
  candidateRooms.resize(workers);
  masks.resize(workers);
  calibrate();
  while (waitForWork()) {
    takeCancelled();
    giveSlots();
    if (!active.empty())
      oneStep();
    ended.clear();
  }
  std::vector<std::shared_ptr<Job>> left;
  {
    std::lock_guard guard(lock);
    for (auto &[id, job] : jobs)
      left.push_back(job);
  }
  for (const std::shared_ptr<Job> &job : left)
    failJob(*job, FinishReason::cancelled);
  ended.clear();
}

void Engine::Impl::takeCancelled() {
  std::vector<std::shared_ptr<Job>> ended;
  double now = monotonicMs();
  {
    std::lock_guard guard(lock);
    for (auto &[id, job] : jobs)
      if (job->cancelled || (job->deadlineMs > 0 && now >= job->deadlineMs))
        ended.push_back(job);
  }
  for (const std::shared_ptr<Job> &job : ended)
    failJob(*job, job->cancelled ? FinishReason::cancelled : FinishReason::deadline);
}

} // namespace mlc::server
