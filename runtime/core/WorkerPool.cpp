//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/core/WorkerPool.h"
#include "runtime/core/EventCount.h"

#include <algorithm>
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

// About 50 us of polling covers the gap between two steps; then a worker parks. Within a turn one op that the caller
// calculates alone may last longer, and waking a worker costs as much: it polls for about 1 ms.
static constexpr unsigned kSpins = 2000, kSpinsInTurn = 20 * kSpins;

// A thread, told from every other one alive.
static uintptr_t self() { return (uintptr_t)pthread_self(); }

struct WorkerPool::State {
  struct Worker {
    State *state;
    unsigned index;
    pthread_t thread;
  };

  static constexpr unsigned kMostParts = 8;

  /// The turns and the job of a class.
  struct alignas(64) Slot {
    // The job, written by the caller while no worker can hold it, published by `word`.
    Body body = nullptr;
    void *context = nullptr;
    int64_t count = 0, grain = 1;
    // Of the turn that is held.
    const std::atomic<bool> *cancel = nullptr;
    std::atomic<bool> skipped{false};
    std::atomic<uintptr_t> owner{0};
    // The queue of turns; `head` holds the slot. Changed under `mutex`.
    std::atomic<Turn *> head{nullptr};

    // A worker takes the chunks of its part one after the other, so that what it reads and writes in one job is near it
    // in the next; then those that other parts have left. Several workers share a part where there are many.
    struct alignas(64) Part {
      std::atomic<int64_t> next{0};
      int64_t end = 0;
    };
    Part parts[kMostParts];
    unsigned used = 1; // Parts of the job.

    // generation << 32 | open << 31 | workers inside. A worker enters an open job by adding itself; the caller closes
    // the job when no chunk is left and waits for those inside only: a worker that the system has not scheduled costs
    // nothing.
    alignas(64) std::atomic<uint64_t> word{0};

    bool isCancelled(std::memory_order order) const { return cancel && cancel->load(order); }
  };
  static constexpr uint64_t kOpen = uint64_t(1) << 31, kInside = kOpen - 1;
  static constexpr uint64_t generationOf(uint64_t value) { return value >> 32; }

  Slot slots[2]; // By SessionClass.
  // Realtime turns held or waited for; read at every chunk border of a batch job.
  alignas(64) std::atomic<unsigned> urgent{0};
  std::atomic<bool> stop{false};
  // Parked workers; callers that wait for their turn, for the end of a realtime one, or for the workers inside.
  alignas(64) EventCount idle;
  EventCount callers;
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

  WorkerPool pool;
  Allocator allocator{};
  unsigned threads = 1;
  size_t bytes = 0;
  Worker *workers() { return reinterpret_cast<Worker *>(this + 1); }
  Slot &slotOf(SessionClass sessionClass) { return slots[size_t(sessionClass)]; }

  /// The start of the next chunk of `part`, or what lies behind it. A pool of one thread has nobody to share with: no
  /// locked instruction.
  int64_t take(Slot::Part &part, int64_t grain) {
    if (threads > 1)
      return part.next.fetch_add(grain, std::memory_order_relaxed);
    int64_t begin = part.next.load(std::memory_order_relaxed);
    part.next.store(begin + grain, std::memory_order_relaxed);
    return begin;
  }

  /// Runs chunks until none is left; false when a realtime turn has come first.
  bool work(Slot &slot, unsigned worker) {
    for (unsigned seen = 0, own = worker % slot.used; seen < slot.used;) {
      if (slot.isCancelled(std::memory_order_relaxed)) {
        slot.skipped.store(true, std::memory_order_relaxed);
        for (Slot::Part &part : slot.parts)
          part.next.store(part.end, std::memory_order_relaxed);
        return true;
      }
      if (&slot == &slots[0] && urgent.load(std::memory_order_relaxed))
        return false;
      Slot::Part &part = slot.parts[(own + seen) % slot.used];
      int64_t begin = take(part, slot.grain);
      if (begin >= part.end) {
        ++seen;
        continue;
      }
      slot.body(slot.context, begin, std::min(begin + slot.grain, part.end), worker);
    }
    return true;
  }

  /// Parts of about as many chunks for all workers.
  void divide(Slot &slot) {
    int64_t chunks = (slot.count - 1) / slot.grain + 1;
    slot.used = unsigned(std::min<int64_t>({chunks, int64_t(threads), int64_t(kMostParts)}));
    int64_t first = 0;
    for (unsigned i = 0; i < slot.used; ++i) {
      first += chunks / slot.used + (i < chunks % slot.used);
      slot.parts[i].next.store(i ? slot.parts[i - 1].end : 0, std::memory_order_relaxed);
      slot.parts[i].end = first * slot.grain < slot.count ? first * slot.grain : slot.count;
    }
  }

  /// The class whose open job this worker is to enter, or -1; `done` holds the generations it has seen the end of.
  int choose(const uint64_t (&done)[2]) {
    int which = urgent.load(std::memory_order_seq_cst) ? 1 : 0;
    uint64_t value = slots[which].word.load(std::memory_order_seq_cst);
    return (value & kOpen) && generationOf(value) != done[which] ? which : -1;
  }

  /// Makes the worker one of those inside the slot's job, and gives its generation; 0 when it is closed.
  static uint64_t enter(Slot &slot) {
    uint64_t value = slot.word.load(std::memory_order_relaxed);
    while (value & kOpen)
      if (slot.word.compare_exchange_weak(value, value + 1, std::memory_order_acquire))
        return generationOf(value);
    return 0;
  }

  void leave(Slot &slot) {
    uint64_t value = slot.word.fetch_sub(1, std::memory_order_seq_cst) - 1;
    if (!(value & (kOpen | kInside)))
      callers.notify();
  }

  void loop(unsigned worker) {
    uint64_t done[2] = {}, published = 0;
    unsigned spins = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      if (int which = choose(done); which >= 0) {
        Slot &slot = slots[which];
        if (uint64_t generation = enter(slot)) {
          if (work(slot, worker))
            done[which] = generation;
          leave(slot);
        }
        spins = 0;
        continue;
      }
      // Jobs that came and went without this worker keep it awake too.
      uint64_t jobs = generationOf(slots[0].word.load(std::memory_order_relaxed)) +
                      generationOf(slots[1].word.load(std::memory_order_relaxed));
      spins = jobs == published ? spins + 1 : 0;
      published = jobs;
      bool turn = slots[0].head.load(std::memory_order_relaxed) || slots[1].head.load(std::memory_order_relaxed);
      if (spins < (turn ? kSpinsInTurn : kSpins)) {
        relax();
        continue;
      }
      idle.wait([&] { return stop.load(std::memory_order_seq_cst) || choose(done) >= 0; });
      spins = 0;
    }
  }

  /// Opens the slot's job to workers. None is inside.
  void publish(Slot &slot) {
    uint64_t generation = generationOf(slot.word.load(std::memory_order_relaxed)) + 1;
    // 0 says "closed" in enter().
    generation += !(generation & 0xffffffff);
    slot.word.store(generation << 32 | kOpen, std::memory_order_seq_cst);
    idle.notify();
  }

  void close(Slot &slot) {
    slot.word.fetch_and(~kOpen, std::memory_order_seq_cst);
    for (unsigned spins = 0; slot.word.load(std::memory_order_acquire) & kInside; ++spins)
      if (spins < kSpins * 16)
        relax();
      else
        callers.wait([&] { return !(slot.word.load(std::memory_order_seq_cst) & kInside); });
  }

  /// A batch turn sleeps until no realtime one is left.
  void pause(Slot &slot) {
    callers.wait(
        [&] { return !urgent.load(std::memory_order_seq_cst) || slot.isCancelled(std::memory_order_seq_cst); });
  }

  /// The slot whose turn the calling thread holds, or null.
  Slot *mine() {
    uintptr_t caller = self();
    for (Slot *slot : {&slots[1], &slots[0]})
      if (slot->owner.load(std::memory_order_relaxed) == caller)
        return slot;
    return nullptr;
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
  state->stop.store(true, std::memory_order_seq_cst);
  state->idle.notify();
  for (unsigned i = 1; i < state->threads; ++i)
    pthread_join(state->workers()[i - 1].thread, nullptr);
  Allocator allocator = state->allocator;
  size_t bytes = state->bytes;
  state->~State();
  allocator.release(allocator.context, state, bytes);
}

unsigned WorkerPool::size() const { return state->threads; }

void WorkerPool::wake() { state->callers.notify(); }

WorkerPool::Turn::Turn(WorkerPool &pool, SessionClass sessionClass, const std::atomic<bool> *cancel)
    : state(pool.state), cancel(cancel), sessionClass(sessionClass) {
  State::Slot &slot = state->slotOf(sessionClass);
  if (sessionClass == SessionClass::realtime)
    state->urgent.fetch_add(1, std::memory_order_seq_cst);
  pthread_mutex_lock(&state->mutex);
  if (Turn *last = slot.head.load(std::memory_order_relaxed)) {
    while (last->next)
      last = last->next;
    last->next = this;
  } else {
    slot.head.store(this, std::memory_order_relaxed);
    held = true;
  }
  pthread_mutex_unlock(&state->mutex);
  if (!held) {
    state->callers.wait([&] {
      return slot.head.load(std::memory_order_seq_cst) == this || (cancel && cancel->load(std::memory_order_seq_cst));
    });
    pthread_mutex_lock(&state->mutex);
    Turn *before = slot.head.load(std::memory_order_relaxed);
    held = before == this;
    if (!held) {
      while (before->next != this)
        before = before->next;
      before->next = next;
    }
    pthread_mutex_unlock(&state->mutex);
  }
  if (held) {
    slot.cancel = cancel;
    slot.skipped.store(false, std::memory_order_relaxed);
    slot.owner.store(self(), std::memory_order_relaxed);
  }
}

WorkerPool::Turn::~Turn() {
  if (held) {
    State::Slot &slot = state->slotOf(sessionClass);
    slot.owner.store(0, std::memory_order_relaxed);
    slot.cancel = nullptr;
    pthread_mutex_lock(&state->mutex);
    slot.head.store(next, std::memory_order_seq_cst);
    pthread_mutex_unlock(&state->mutex);
  }
  if (sessionClass == SessionClass::realtime && state->urgent.fetch_sub(1, std::memory_order_seq_cst) == 1)
    state->idle.notify();
  state->callers.notify();
}

bool WorkerPool::Turn::skipped() const {
  return !held || state->slotOf(sessionClass).skipped.load(std::memory_order_relaxed);
}

void WorkerPool::run(int64_t count, int64_t grain, Body body, void *context) {
  if (count <= 0)
    return;
  State::Slot *slot = state->mine();
  if (!slot) {
    Turn turn(*this, SessionClass::batch);
    return run(count, grain, body, context);
  }
  // What an op reads may be what a skipped chunk was to write.
  if (slot->skipped.load(std::memory_order_relaxed))
    return;
  slot->body = body;
  slot->context = context;
  slot->count = count;
  slot->grain = grain;
  state->divide(*slot);
  // One chunk is not worth waking anyone for.
  bool shared = state->threads > 1 && count > grain;
  if (shared)
    state->publish(*slot);
  while (!state->work(*slot, 0))
    state->pause(*slot);
  if (shared)
    state->close(*slot);
}

} // namespace mlc
