//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The sessions of the other ranks of tensor parallelism, which do what the first one's does: their state on the host is
// the same, their devices have the other parts. Each takes its steps on a thread of its own, because devices that add
// up what they have wait for each other.
//
#pragma once

#include "runtime/llm/Session.h"

namespace mlc {

class RankTeam {
public:
  /// Of a model of several ranks, for a session with `options`.
  static Result<RankTeam *> create(const Model &model, const SessionOptions &options, const Allocator &allocator);
  static void destroy(RankTeam *team);

  /// Does to every other rank's session what was done to the first one's.
  template <typename F> Status follow(const F &f) {
    for (unsigned i = 0; i < count; ++i)
      MLC_TRY(f(*followers[i].session));
    return {};
  }
  /// The step of all ranks; `first` takes that of the first one, on the calling thread. On an error the ranks no longer
  /// agree, or none has changed.
  template <typename F>
  Result<LogitsView> step(std::span<const StepSegment> segments, std::span<const int32_t> rows, const F &first) {
    pthread_mutex_lock(&steps);
    begin(segments, rows);
    Result<LogitsView> view = first();
    Status others = join();
    pthread_mutex_unlock(&steps);
    if (view && !others)
      return others.error();
    return view;
  }

private:
  struct Follower {
    RankTeam *team;
    Owned<Session> session;
    std::optional<Error> failure;
    bool busy = false; // Under the team's mutex.
    pthread_t thread;
  };
  explicit RankTeam(pthread_mutex_t &steps) : steps(steps) {}
  ~RankTeam();
  Status build(const Model &model, const SessionOptions &options);
  void begin(std::span<const StepSegment> segments, std::span<const int32_t> rows);
  Status join();
  void work(Follower &follower);

  pthread_mutex_t &steps; // The model's.
  Allocator allocator{};
  Follower followers[kMaxRanks - 1];
  unsigned count = 0, threads = 0;
  // The step in progress.
  std::span<const StepSegment> segments;
  std::span<const int32_t> rows;
  OwnedArray<RowDraw> draws; // The likeliest token of every row: it is less to send than logits, and nobody reads it.
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
  bool stop = false;
};

} // namespace mlc
