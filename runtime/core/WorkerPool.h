//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The worker pool: a fixed number of threads, the caller among them. Workers spin briefly after work, then park.
//
#pragma once

#include "runtime/core/Memory.h"

namespace mlc {

class WorkerPool {
public:
  /// Runs items [begin, end) on `worker` (0 <= worker < size()).
  using Body = void (*)(void *context, int64_t begin, int64_t end, unsigned worker);

  /// `threads` >= 1 counts the caller; 1 starts no thread.
  static Result<WorkerPool *> create(unsigned threads, const Allocator &allocator = systemAllocator());
  static void destroy(WorkerPool *pool);

  unsigned size() const;

  /// Runs `body` over [0, count) in chunks of `grain` items (the last may be shorter), handed out dynamically, and
  /// returns when every chunk is done. Chunk borders depend on `grain` alone, never on the number of threads. One
  /// caller at a time; a body must not call run again.
  void run(int64_t count, int64_t grain, Body body, void *context);

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
  struct State;
  State *state = nullptr;
};

} // namespace mlc
