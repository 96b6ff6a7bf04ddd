//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/device/TensorCore.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <ucontext.h>

namespace mlc::cuda::emulator {

namespace {

constexpr unsigned kWarp = 32, kMostThreads = 1024, kMostWords = 16;
constexpr size_t kStack = 64 << 10;

enum class State { ready, atWarp, atBlock, done };

/// A thread of the block. Its stack serves the threads of that number of every block.
struct Fiber {
  std::unique_ptr<char[]> stack;
  ucontext_t start;
  jmp_buf place;
  State state = State::done;
  bool begun = false;
  unsigned exchanges = 0;
};

struct Machine {
  Fiber fibers[kMostThreads];
  // Two in turn: who is a step ahead does not write over what others still read.
  uint32_t places[2][kMostThreads / kWarp][kMostWords * kWarp];
  ucontext_t back;
  jmp_buf scheduler;
  unsigned current = 0;
  const std::function<void()> *body = nullptr;
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

/// Runs a warp until all of its threads have ended or wait for the block.
void runWarp(unsigned first, unsigned end) {
  for (bool moved = true; moved;) {
    moved = false;
    for (unsigned thread = first; thread < end; ++thread)
      if (Fiber &fiber = machine.fibers[thread]; fiber.state == State::ready) {
        resume(thread);
        moved = true;
      }
    // All that are still there have met.
    for (unsigned thread = first; thread < end; ++thread)
      if (Fiber &fiber = machine.fibers[thread]; fiber.state == State::atWarp)
        fiber.state = State::ready;
  }
}

void runBlock(unsigned threads) {
  for (unsigned thread = 0; thread < threads; ++thread) {
    machine.fibers[thread].state = State::ready;
    machine.fibers[thread].exchanges = 0;
  }
  for (bool waiting = true; waiting;) {
    for (unsigned first = 0; first < threads; first += kWarp)
      runWarp(first, first + kWarp < threads ? first + kWarp : threads);
    waiting = false;
    for (unsigned thread = 0; thread < threads; ++thread)
      if (machine.fibers[thread].state == State::atBlock) {
        machine.fibers[thread].state = State::ready;
        waiting = true;
      }
  }
}

} // namespace

void launch(EmulatedDim grid, unsigned threads, const std::function<void()> &body) {
  if (threads < 1 || threads > kMostThreads) {
    fprintf(stderr, "emulator: a block of %u threads\n", threads);
    abort();
  }
  machine.body = &body;
  gridDim = grid;
  blockDim = {threads, 1, 1};
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
        runBlock(threads);
}

void syncWarp() { wait(State::atWarp); }
void syncBlock() { wait(State::atBlock); }

uint32_t *exchange(unsigned words) {
  if (words > kMostWords)
    abort();
  unsigned turn = machine.fibers[machine.current].exchanges++ % 2;
  return machine.places[turn][machine.current / kWarp];
}

} // namespace mlc::cuda::emulator

namespace mlc::cuda {

// Lane 4 g + t holds a's rows g and g + 8, columns 2 t, 2 t + 1 and those 8 further; b's column g, the same rows; c's
// rows g and g + 8, columns 2 t and 2 t + 1.
void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  uint32_t *places = emulator::exchange(6);
  unsigned lane = threadIdx.x % 32;
  for (unsigned i = 0; i < 4; ++i)
    places[i * 32 + lane] = a[i];
  for (unsigned i = 0; i < 2; ++i)
    places[(4 + i) * 32 + lane] = b[i];
  emulator::syncWarp();
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
