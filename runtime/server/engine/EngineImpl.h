//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the parts of an engine share. The engine's thread goes round: take what was cancelled, give slots to who waits,
// choose a step, run it, hand out what came of it.
//
//   Engine.cpp     submit, cancel, drain; the thread's loop
//   Validate.cpp   what a request may ask for
//   Admission.cpp  slots, shared prefixes, memory
//   Planning.cpp   which tokens go into a step
//   Stepping.cpp   the step, and what its rows give
//   Speculation.cpp  tokens that are drafted into it
//   Delivery.cpp   events, and the ends of answers and requests
//
#pragma once

#include "runtime/llm/StepDrawing.h"
#include "runtime/server/engine/CostModel.h"
#include "runtime/server/engine/Engine.h"
#include "runtime/server/engine/FairQueue.h"
#include "runtime/server/engine/HiddenStates.h"
#include "runtime/server/engine/Job.h"
#include "runtime/server/engine/PrefixCache.h"
#include "runtime/server/engine/Speculation.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace mlc::server {

/// Refuses by field what a request may not ask for. Fills what follows from it: candidates, mostNew.
Submission validate(const Request &request, const Session &session, const Status &embeddings);

class Engine::Impl {
public:
  Impl(const Model &model, const EngineOptions &options, Owned<Session> session,
       std::unique_ptr<Speculation> speculation, StepDrawing drawing);
  ~Impl();

  // Any thread.
  Submission submit(Request request, std::shared_ptr<Sink> sink);
  void cancel(RequestId id);
  void drain();
  void stop();
  bool waitIdle(double ms);
  EngineStats stats() const;
  const Session &theSession() const { return *session; }
  const Status &embeddings() const { return hidden.support(); }
  size_t embeddingSize() const { return hidden.width(); }

private:
  void run();
  void calibrate();
  bool waitForWork();
  void takeCancelled();
  void oneStep();

  // Admission.
  void giveSlots();
  void startLane(std::shared_ptr<Job> job);
  Status openSequence(Lane &lane);
  bool sharePrefix(Lane &lane);
  void closeSequence(Lane &lane, bool keep);
  bool freeMemory();

  // Planning.
  void plan();
  void addPiece(Lane &lane, size_t count);
  size_t chunk(const Lane &lane, double budget) const;
  bool waitsForPrefix(const Lane &lane) const;
  void planPrompts(std::span<Lane *const> prompts, double budget);

  // Stepping.
  struct RowWork;
  struct RowResult;
  void draftTokens();
  bool stopDrafting();
  Status runStep();
  void addDraw(const Piece &piece, size_t row);
  unsigned handleRows();
  void workOn(RowWork &work, std::span<RowResult> results, unsigned worker);
  Status judgeRow(Lane &lane, std::span<const float> row, const Draft *draft, uint64_t place, unsigned worker,
                  RowResult &result);
  Status takeRow(Lane &lane, size_t row, const Draft *draft, uint64_t place, unsigned worker, RowResult &result);
  void takePromptRow(const RowWork &work, RowResult &result);
  void promptFed(Lane &lane);
  void takeTokens(const RowWork &work, std::span<RowResult> results);
  void takeToken(Lane &lane, RowResult &result);

  // Delivery.
  void deliver(Lane &lane, Release &released);
  void sendTokens(Job &job, uint32_t choice, const Release &released);
  void sendPrompt(Lane &lane);
  void finishLane(Lane &lane, FinishReason reason);
  void failJob(Job &job, FinishReason reason, ErrorCode code = ErrorCode::Ok, std::string_view message = {});
  void sendRanked(Job &job);
  void endJob(Job &job, FinishReason reason, ErrorCode code, std::string_view message);

  const Model &model;
  EngineOptions options;
  Owned<Session> session;
  HiddenStates hidden;
  PromptForms forms;
  PrefixCache cache;
  CostModel cost;
  std::unique_ptr<Speculation> speculation; // Null without a draft.

  // The engine thread's own.
  std::vector<Lane *> active; // In the order of their slots' start.
  std::vector<Piece> pieces;
  StepShape shape;
  uint64_t round = 1;                                         // In which every answer gets a token,
  bool promptsWent = false;                                   // and prompts one step.
  std::vector<OwnedArray<Sampler::Candidate>> candidateRooms; // One a worker.
  std::vector<std::vector<uint64_t>> masks;                   // One a worker.
  std::vector<int32_t> stepRows, draftedTokens;
  StepDrawing drawing;      // Of a model on a device.
  bool speculating = false; // In the step in progress.
  std::vector<StepSegment> segments;
  LogitsView logits;
  std::vector<std::shared_ptr<Job>> ended; // Let go between steps, when nothing refers to them any more.

  // Under `lock`.
  mutable std::mutex lock;
  std::condition_variable work, idle;
  std::unordered_map<uint64_t, std::shared_ptr<Job>> jobs; // All that are not done.
  FairQueue<Job> queue;                                    // Those with candidates to start.
  std::vector<Job *> stepJobs;                             // Of the step in progress.
  uint64_t nextId = 1;
  uint64_t waiting = 0, activeCount = 0;
  double meanServiceMs = 0;
  bool draining = false, stopping = false;

  // Under `statsLock`; never together with `lock`.
  mutable std::mutex statsLock;
  EngineStats counted;

  std::thread thread;
};

} // namespace mlc::server
