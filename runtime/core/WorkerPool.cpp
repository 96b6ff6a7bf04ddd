//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/core/WorkerPool.h"

#include <atomic>
#include <pthread.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mlc {

static inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__) || defined(__arm__)
  asm volatile("yield");
#endif
}

// About 50 us of polling covers the gap between two ops of a step; then a worker parks.
static constexpr unsigned kSpins = 2000;

struct WorkerPool::State {
  struct Worker {
    State *state;
    unsigned index;
    pthread_t thread;
  };

  // The job, written by the caller while no worker can hold it, published by `word`.
  Body body = nullptr;
  void *context = nullptr;
  int64_t count = 0, grain = 1;

  alignas(64) std::atomic<int64_t> next{0};
  // generation << 32 | open << 31 | workers inside. A worker enters an open job by adding itself; the caller closes the
  // job when no chunk is left and waits for those inside only: a worker that the system has not scheduled costs
  // nothing.
  alignas(64) std::atomic<uint64_t> word{0};
  static constexpr uint64_t kOpen = uint64_t(1) << 31, kInside = kOpen - 1;
  static constexpr uint64_t generationOf(uint64_t value) { return value >> 32; }
  std::atomic<unsigned> parked{0};
  std::atomic<bool> stop{false};
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER;

  WorkerPool pool;
  Allocator allocator{};
  unsigned threads = 1;
  size_t bytes = 0;
  Worker *workers() { return reinterpret_cast<Worker *>(this + 1); }

  void work(unsigned worker) {
    for (;;) {
      int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count)
        return;
      int64_t end = begin + grain < count ? begin + grain : count;
      body(context, begin, end, worker);
    }
  }

  /// Whether the worker is inside the job of `generation` now; false once it is closed.
  bool enter(uint64_t generation) {
    uint64_t value = word.load(std::memory_order_acquire);
    while (generationOf(value) == generation && (value & kOpen))
      if (word.compare_exchange_weak(value, value + 1, std::memory_order_acquire))
        return true;
    return false;
  }

  void loop(unsigned worker) {
    uint64_t seen = 0;
    for (;;) {
      uint64_t now = generationOf(word.load(std::memory_order_acquire));
      for (unsigned i = 0; now == seen && i < kSpins; ++i) {
        relax();
        now = generationOf(word.load(std::memory_order_acquire));
      }
      if (now == seen) {
        pthread_mutex_lock(&mutex);
        parked.fetch_add(1, std::memory_order_seq_cst);
        while ((now = generationOf(word.load(std::memory_order_seq_cst))) == seen)
          pthread_cond_wait(&wake, &mutex);
        parked.fetch_sub(1, std::memory_order_relaxed);
        pthread_mutex_unlock(&mutex);
      }
      seen = now;
      if (stop.load(std::memory_order_relaxed))
        return;
      if (enter(now)) {
        work(worker);
        word.fetch_sub(1, std::memory_order_release);
      }
    }
  }

  /// The next generation, open to workers or not. No worker is inside.
  void publish(uint64_t open) {
    uint64_t generation = generationOf(word.load(std::memory_order_relaxed)) + 1;
    word.store(generation << 32 | open, std::memory_order_seq_cst);
    if (parked.load(std::memory_order_seq_cst)) {
      pthread_mutex_lock(&mutex);
      pthread_cond_broadcast(&wake);
      pthread_mutex_unlock(&mutex);
    }
  }
};

Result<WorkerPool *> WorkerPool::create(unsigned threads, const Allocator &allocator) {
  if (threads < 1 || threads > 1024)
    return Error(ErrorCode::InvalidArgument, "%u threads: choose 1 to 1024", threads);
  size_t bytes = sizeof(State) + (threads - 1) * sizeof(State::Worker);
  void *memory = allocator.allocate(allocator.context, bytes, alignof(State));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for a pool of %u threads", threads);
  State *state = new (memory) State;
  state->allocator = allocator;
  state->bytes = bytes;
  state->pool.state = state;
  for (unsigned i = 1; i < threads; ++i) {
    State::Worker &worker = *new (&state->workers()[i - 1]) State::Worker{state, i, {}};
    int failed = pthread_create(
        &worker.thread, nullptr,
        [](void *argument) -> void * {
          auto *self = static_cast<State::Worker *>(argument);
          self->state->loop(self->index);
          return nullptr;
        },
        &worker);
    if (failed) {
      destroy(&state->pool);
      return Error(ErrorCode::OutOfMemory, "the system refused thread %u of %u; lower --threads", i + 1, threads);
    }
    state->threads = i + 1;
  }
  return &state->pool;
}

void WorkerPool::destroy(WorkerPool *pool) {
  if (!pool)
    return;
  State *state = pool->state;
  state->stop.store(true, std::memory_order_relaxed);
  state->publish(0);
  for (unsigned i = 1; i < state->threads; ++i)
    pthread_join(state->workers()[i - 1].thread, nullptr);
  Allocator allocator = state->allocator;
  size_t bytes = state->bytes;
  state->~State();
  allocator.release(allocator.context, state, bytes);
}

unsigned WorkerPool::size() const { return state->threads; }

void WorkerPool::run(int64_t count, int64_t grain, Body body, void *context) {
  if (count <= 0)
    return;
  if (state->threads == 1 || count <= grain) {
    // The same chunks as with more threads, one after the other.
    for (int64_t begin = 0; begin < count; begin += grain)
      body(context, begin, begin + grain < count ? begin + grain : count, 0);
    return;
  }
  state->body = body;
  state->context = context;
  state->count = count;
  state->grain = grain;
  state->next.store(0, std::memory_order_relaxed);
  state->publish(State::kOpen);
  state->work(0);
  state->word.fetch_and(~State::kOpen, std::memory_order_acq_rel);
  for (unsigned spins = 0; state->word.load(std::memory_order_acquire) & State::kInside; ++spins)
    if (spins < kSpins * 16)
      relax();
    else
      sched_yield();
}

} // namespace mlc
