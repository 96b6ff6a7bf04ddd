//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/device/Ring.cuh"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <ucontext.h>
#include <vector>

namespace mlc::cuda::emulator {

namespace {

constexpr unsigned kWarp = 32, kMostThreads = 1024, kMostWords = 16;
constexpr size_t kStack = 64 << 10;
constexpr unsigned kMostShared = 228 << 10, kMostPolls = 1000;

enum class State { ready, atWarp, atBlock, polling, done };

/// A copy into shared memory that is not there yet: they come as late as a kernel lets them.
struct Copy {
  void *to;
  const void *from; // Null: zeros.
  uint32_t bytes;
  uint64_t *barrier = nullptr; // That of a bulk copy.

  void make() const { from ? memcpy(to, from, bytes) : memset(to, 0, bytes); }
};

/// A thread of the block. Its stack serves the threads of that number of every block.
struct Fiber {
  std::unique_ptr<char[]> stack;
  ucontext_t start;
  jmp_buf place;
  State state = State::done;
  bool begun = false;
  unsigned exchanges = 0;
  std::vector<Copy> copies; // Until it waits for them.
};

struct Machine {
  Fiber fibers[kMostThreads];
  std::vector<Copy> bulkCopies; // Until somebody waits at their barriers.
  // Two in turn: who is a step ahead does not write over what others still read.
  uint32_t places[2][kMostThreads / kWarp][kMostWords * kWarp];
  ucontext_t back;
  jmp_buf scheduler;
  unsigned current = 0, sharedBytes = 0, polls = 0; // Passes of a block in which threads did nothing but poll.
  const std::function<void()> *body = nullptr;
  alignas(1024) uint8_t shared[kMostShared + 1024];
};
Machine machine;

// setjmp's destination is another stack, which a checked longjmp refuses; the plain one saves no signal mask.
[[noreturn]] void toScheduler(State state) {
  machine.fibers[machine.current].state = state;
  _longjmp(machine.scheduler, 1);
}

void wait(State state) {
  if (!_setjmp(machine.fibers[machine.current].place))
    toScheduler(state);
}

/// A fiber never ends: behind one block's thread it waits to be the next one's.
void threadMain() {
  for (;;) {
    (*machine.body)();
    wait(State::done);
  }
}

void resume(unsigned thread) {
  Fiber &fiber = machine.fibers[thread];
  machine.current = thread;
  threadIdx.x = thread;
  if (_setjmp(machine.scheduler))
    return;
  if (fiber.begun)
    _longjmp(fiber.place, 1);
  fiber.begun = true;
  fiber.stack = std::make_unique<char[]>(kStack);
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack.get();
  fiber.start.uc_stack.ss_size = kStack;
  fiber.start.uc_link = &machine.back;
  makecontext(&fiber.start, threadMain, 0);
  setcontext(&fiber.start);
}

[[noreturn]] void fail(const char *what) {
  fprintf(stderr, "emulator: %s\n", what);
  abort();
}

/// Runs a warp until all of its threads have ended, poll or wait for the block.
void runWarp(unsigned first, unsigned end) {
  for (bool moved = true; moved;) {
    moved = false;
    for (unsigned thread = first; thread < end; ++thread)
      if (Fiber &fiber = machine.fibers[thread]; fiber.state == State::ready) {
        resume(thread);
        moved = true;
      }
    bool polling = false;
    for (unsigned thread = first; thread < end; ++thread)
      polling |= machine.fibers[thread].state == State::polling;
    // All that are still there have met.
    for (unsigned thread = first; thread < end && !polling; ++thread)
      if (Fiber &fiber = machine.fibers[thread]; fiber.state == State::atWarp)
        fiber.state = State::ready;
  }
}

void runBlock(unsigned threads) {
  for (unsigned thread = 0; thread < threads; ++thread) {
    machine.fibers[thread].state = State::ready;
    machine.fibers[thread].exchanges = 0;
  }
  // Shared memory holds anything at first: as floats, bf16 and barriers nothing of use.
  memset(machine.shared, 0xff, machine.sharedBytes);
  const unsigned warps = (threads + kWarp - 1) / kWarp;
  // Every other time the last warp goes first: what needs an order that no barrier gives is wrong in one of both.
  for (bool waiting = true, backwards = false; waiting; backwards = !backwards) {
    for (unsigned i = 0; i < warps; ++i) {
      const unsigned first = kWarp * (backwards ? warps - 1 - i : i);
      runWarp(first, first + kWarp < threads ? first + kWarp : threads);
    }
    bool polling = false;
    for (unsigned thread = 0; thread < threads; ++thread)
      polling |= machine.fibers[thread].state == State::polling;
    if (polling && ++machine.polls > kMostPolls)
      fail("threads wait for what nobody does");
    // Who polls goes on first: the block has not met before.
    const State next = polling ? State::polling : State::atBlock;
    waiting = false;
    for (unsigned thread = 0; thread < threads; ++thread)
      if (machine.fibers[thread].state == next) {
        machine.fibers[thread].state = State::ready;
        waiting = true;
      }
  }
  for (unsigned thread = 0; thread < threads; ++thread)
    if (!machine.fibers[thread].copies.empty())
      fail("a thread ends before its copies");
  if (!machine.bulkCopies.empty())
    fail("a block ends before its bulk copies");
  for (unsigned i = 0; i < 1024; ++i)
    if (machine.shared[machine.sharedBytes + i])
      fail("a kernel writes beyond its shared memory");
}

} // namespace

void launch(EmulatedDim grid, unsigned threads, const std::function<void()> &body, unsigned sharedBytes) {
  if (threads < 1 || threads > kMostThreads)
    fail("a block of no threads, or of too many");
  if (sharedBytes > kMostShared)
    fail("a block of more shared memory than there is");
  machine.body = &body;
  machine.sharedBytes = sharedBytes;
  memset(machine.shared + sharedBytes, 0, sizeof machine.shared - sharedBytes);
  gridDim = grid;
  blockDim = {threads, 1, 1};
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
        runBlock(threads);
}

void syncWarp() { wait(State::atWarp); }
void syncBlock() { wait(State::atBlock); }
void poll() { wait(State::polling); }
uint8_t *dynamicShared() { return machine.shared; }

uint32_t *exchange(unsigned words) {
  if (words > kMostWords)
    abort();
  unsigned turn = machine.fibers[machine.current].exchanges++ % 2;
  return machine.places[turn][machine.current / kWarp];
}

} // namespace mlc::cuda::emulator

namespace mlc::cuda {

/// Word i of every lane's operands of a product, a's four before b's two, [i][lane].
static const uint32_t *shareOperands(const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  uint32_t *places = emulator::exchange(6);
  unsigned lane = threadIdx.x % 32;
  for (unsigned i = 0; i < 4; ++i)
    places[i * 32 + lane] = a[i];
  for (unsigned i = 0; i < 2; ++i)
    places[(4 + i) * 32 + lane] = b[i];
  emulator::syncWarp();
  return places;
}

// Lane 4 g + t holds a's rows g and g + 8, columns 2 t, 2 t + 1 and those 8 further; b's column g, the same rows; c's
// rows g and g + 8, columns 2 t and 2 t + 1.
void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const uint32_t *places = shareOperands(a, b);
  const unsigned lane = threadIdx.x % 32;
  auto value = [&](unsigned word, unsigned from, unsigned k) {
    return bf16ToF32(uint16_t(places[word * 32 + from] >> (k % 2 * 16)));
  };
  for (unsigned e = 0; e < 4; ++e) {
    unsigned row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
    for (unsigned k = 0; k < 16; ++k) {
      float x = value(row / 8 + k / 8 * 2, row % 8 * 4 + k % 8 / 2, k), y = value(4 + k / 8, column * 4 + k % 8 / 2, k);
      c[e] += x * y;
    }
  }
}

// The same words, of four bytes each: a's columns 4 t, ..., 4 t + 3 and those 16 further; b's rows likewise.
void multiply(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const uint32_t *places = shareOperands(a, b);
  const unsigned lane = threadIdx.x % 32;
  auto value = [&](unsigned word, unsigned from, unsigned k) {
    return int32_t(int8_t(places[word * 32 + from] >> (k % 4 * 8)));
  };
  for (unsigned e = 0; e < 4; ++e) {
    unsigned row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
    for (unsigned k = 0; k < 32; ++k)
      c[e] += value(row / 8 + k / 16 * 2, row % 8 * 4 + k % 16 / 4, k) * value(4 + k / 16, column * 4 + k % 16 / 4, k);
  }
}

namespace {
/// An mbarrier: a phase ends when `pending` threads have arrived and `bytes` are there.
struct Barrier {
  uint16_t count, pending : 15, phase : 1;
  int32_t bytes;
};
static_assert(sizeof(Barrier) == sizeof(uint64_t));
Barrier &barrierAt(uint64_t *memory) { return *reinterpret_cast<Barrier *>(memory); }
void advance(Barrier &barrier) {
  emulator::machine.polls = 0;
  if (barrier.pending || barrier.bytes)
    return;
  barrier.pending = barrier.count;
  barrier.phase ^= 1;
}
} // namespace

void barrierInit(uint64_t *barrier, uint32_t count) { barrierAt(barrier) = {uint16_t(count), uint16_t(count), 0, 0}; }
void barrierArrive(uint64_t *barrier) {
  if (!barrierAt(barrier).pending)
    emulator::fail("more threads arrive than a barrier waits for");
  --barrierAt(barrier).pending;
  advance(barrierAt(barrier));
}
void barrierExpect(uint64_t *barrier, uint32_t bytes) {
  barrierAt(barrier).bytes += int32_t(bytes);
  barrierArrive(barrier);
}
void barrierWait(uint64_t *barrier, uint32_t parity) {
  while (barrierAt(barrier).phase == parity) {
    auto &copies = emulator::machine.bulkCopies;
    // Those who bring them have all arrived: nothing else is waited for.
    if (!barrierAt(barrier).pending && std::erase_if(copies, [&](const emulator::Copy &copy) {
          if (copy.barrier != barrier)
            return false;
          copy.make();
          barrierAt(barrier).bytes -= int32_t(copy.bytes);
          return true;
        }))
      advance(barrierAt(barrier));
    else
      emulator::poll();
  }
}

static bool aligned(const void *to, const void *from) {
  return (reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16 == 0;
}
void copyBulk(void *to, const void *from, uint32_t bytes, uint64_t *barrier) {
  if (!aligned(to, from) || bytes % 16)
    emulator::fail("a bulk copy that is not aligned");
  emulator::machine.bulkCopies.push_back({to, from, bytes, barrier});
}
void copyQuad(void *to, const void *from, bool inside) {
  if (!aligned(to, inside ? from : nullptr))
    emulator::fail("a copy that is not aligned");
  emulator::machine.fibers[emulator::machine.current].copies.push_back({to, inside ? from : nullptr, 16});
}
void awaitCopies() {
  auto &copies = emulator::machine.fibers[emulator::machine.current].copies;
  for (const emulator::Copy &copy : copies)
    copy.make();
  copies.clear();
}

uint32_t fmaBf16Pair(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d = 0;
  for (unsigned shift : {0u, 16u}) {
    auto part = [&](uint32_t pair) { return bf16ToF32(uint16_t(pair >> shift)); };
    d |= uint32_t(f32ToBf16(std::fma(part(a), part(b), part(c)))) << shift;
  }
  return d;
}

uint32_t permuteBytes(uint32_t a, uint32_t b, uint32_t selector) {
  uint64_t both = uint64_t(b) << 32 | a;
  uint32_t out = 0;
  for (unsigned i = 0; i < 4; ++i)
    out |= uint32_t(both >> (selector >> 4 * i & 7) * 8 & 0xff) << 8 * i;
  return out;
}

} // namespace mlc::cuda
