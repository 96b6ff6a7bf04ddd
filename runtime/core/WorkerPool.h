//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The worker pool: a fixed number of threads, the caller among them. Workers spin briefly after work, then park.
// Several sessions can share one: their steps take turns, and a realtime step takes the workers from a batch step.
//
#pragma once

#include "runtime/core/Memory.h"

#include <atomic>

namespace mlc {

/// Whose steps go first on a pool.
enum class SessionClass : uint8_t { batch, realtime };

class WorkerPool {
public:
  /// Runs items [begin, end) on `worker` (0 <= worker < size()).
  using Body = void (*)(void *context, int64_t begin, int64_t end, unsigned worker);

  /// `threads` >= 1 counts the caller; 1 starts no thread.
  static Result<WorkerPool *> create(unsigned threads, const Allocator &allocator = systemAllocator());
  /// No turn is held or waited for.
  static void destroy(WorkerPool *pool);

  unsigned size() const;

private:
  struct State;

public:
  /// One step on the pool, held by the thread that makes and ends it. Turns of a class are served in the order of their
  /// coming. While a realtime turn is held or waited for, batch turns stop at their next chunk border: the workers go
  /// over to the realtime turn, the batch turn's thread sleeps. A thread holds at most one turn of each class.
  class Turn {
  public:
    /// Waits for the turn. `cancel` (may be null) ends the wait, or from then on the chunks, when it is set and wake()
    /// is called.
    Turn(WorkerPool &pool, SessionClass sessionClass, const std::atomic<bool> *cancel = nullptr);
    ~Turn();
    Turn(const Turn &) = delete;
    Turn &operator=(const Turn &) = delete;

    /// Whether any chunk of the turn was left out, or the turn never came; stays so, and later jobs of it do nothing.
    bool skipped() const;
    /// skipped(), or the flag is set now.
    bool cancelled() const { return skipped() || (cancel && cancel->load(std::memory_order_relaxed)); }

  private:
    State *state;
    const std::atomic<bool> *cancel;
    Turn *next = nullptr; // In the queue of its class.
    SessionClass sessionClass;
    bool held = false;
  };

  /// Runs `body` over [0, count) in chunks of `grain` items (the last may be shorter), a part for each worker, and
  /// returns when every chunk is done, or the turn is cancelled and none runs. Chunk borders depend on `grain` alone,
  /// never on the number of threads. Any thread may call it; outside of a turn the job is a batch turn of its own. A
  /// body must not call run again.
  void run(int64_t count, int64_t grain, Body body, void *context);

  /// Lets sleeping callers look at their cancel flags again. Any thread, also a signal handler.
  void wake();

  template <typename F> void parallelFor(int64_t count, int64_t grain, F &&body) {
    run(
        count, grain,
        [](void *context, int64_t begin, int64_t end, unsigned worker) {
          (*static_cast<std::remove_reference_t<F> *>(context))(begin, end, worker);
        },
        const_cast<void *>(static_cast<const void *>(&body)));
  }

private:
  WorkerPool() = default;
  ~WorkerPool() = default;
  State *state = nullptr;
};

} // namespace mlc
