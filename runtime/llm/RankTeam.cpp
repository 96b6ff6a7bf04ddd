//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/RankTeam.h"

namespace mlc {

Result<RankTeam *> RankTeam::create(const Model &model, const SessionOptions &options, const Allocator &allocator) {
  void *memory = allocator.allocate(allocator.context, sizeof(RankTeam), alignof(RankTeam));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for the sessions of other GPUs");
  Owned<RankTeam> team(new (memory) RankTeam(model.rankSteps()));
  team->allocator = allocator;
  MLC_TRY(team->build(model, options));
  return team.release();
}

void RankTeam::destroy(RankTeam *team) {
  Allocator allocator = team->allocator;
  team->~RankTeam();
  allocator.release(allocator.context, team, sizeof(RankTeam));
}

RankTeam::~RankTeam() {
  pthread_mutex_lock(&mutex);
  stop = true;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
  for (unsigned i = 0; i < threads; ++i)
    pthread_join(followers[i].thread, nullptr);
}

Status RankTeam::build(const Model &model, const SessionOptions &options) {
  MLC_ASSIGN(draws, OwnedArray<RowDraw>::create(allocator, model.bounds().rows, "draws"));
  for (size_t i = 0; i < draws.size(); ++i)
    draws[i].row = int32_t(i);
  SessionOptions own = options;
  // Steps on a device leave the pool alone, and one that is shared takes them in turns.
  own.pool = nullptr;
  own.threads = 1;
  for (count = 0; count + 1 < model.ranks(); ++count) {
    MLC_ASSIGN(Session * made, Session::createRank(model, own, count + 1));
    followers[count].team = this;
    followers[count].session.reset(made);
  }
  for (threads = 0; threads < count; ++threads)
    if (pthread_create(
            &followers[threads].thread, nullptr,
            [](void *argument) -> void * {
              auto *self = static_cast<Follower *>(argument);
              self->team->work(*self);
              return nullptr;
            },
            &followers[threads]))
      return Error(ErrorCode::OutOfMemory, "the system refused a thread for GPU %u of %u", threads + 2, count + 1);
  return {};
}

void RankTeam::work(Follower &follower) {
  pthread_mutex_lock(&mutex);
  for (;;) {
    while (!follower.busy && !stop)
      pthread_cond_wait(&changed, &mutex);
    if (!follower.busy)
      break;
    pthread_mutex_unlock(&mutex);
    StepDraws none;
    if (follower.session->draws())
      none.rows = draws.span().first(rows.size());
    auto taken = follower.session->stepOfRank(segments, rows, none);
    pthread_mutex_lock(&mutex);
    if (!taken)
      follower.failure.emplace(taken.error());
    follower.busy = false;
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&mutex);
}

void RankTeam::begin(std::span<const StepSegment> stepSegments, std::span<const int32_t> stepRows) {
  pthread_mutex_lock(&mutex);
  segments = stepSegments;
  rows = stepRows;
  for (unsigned i = 0; i < count; ++i) {
    followers[i].failure.reset();
    followers[i].busy = true;
  }
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

Status RankTeam::join() {
  const Error *first = nullptr;
  pthread_mutex_lock(&mutex);
  for (unsigned i = 0; i < count; ++i) {
    while (followers[i].busy)
      pthread_cond_wait(&changed, &mutex);
    if (!first && followers[i].failure)
      first = &*followers[i].failure;
  }
  pthread_mutex_unlock(&mutex);
  return first ? Status(*first) : Status();
}

} // namespace mlc
