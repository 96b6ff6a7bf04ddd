//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
#include "targets/cuda/attention/simt/Emulator.h"

#include <array>
#include <cstdio>
#include <memory>
#include <ucontext.h>
#include <vector>

namespace mlc::attention::emulator {

namespace {

constexpr size_t kStackBytes = 64 << 10;

struct Copy {
  void *to;
  const void *from;
  bool valid;
};

void complete(const Copy &copy) {
  if (copy.valid)
    std::memcpy(copy.to, copy.from, 16);
  else
    std::memset(copy.to, 0, 16);
}

struct Fiber {
  ucontext_t context;
  std::unique_ptr<unsigned char[]> stack;
  std::vector<std::vector<Copy>> groups; // ended, then the open one
  const uint64_t *waitsFor = nullptr;    // until it differs from `seen`
  uint64_t seen = 0;
  bool ended = false;
};

/// What lanes of a warp, or threads of a block, meet at.
struct Meeting {
  int arrived = 0;
  uint64_t times = 0;
};

struct Block {
  const std::function<void()> *kernel;
  ucontext_t scheduler;
  std::vector<Fiber> fibers;
  std::vector<Meeting> warps;
  std::vector<std::array<void *, kLanes>> given;
  Meeting all;
  std::vector<unsigned char> shared;
  int block = 0, current = 0;
  bool copiesAtOnce = false;
};

thread_local Block *running = nullptr;

void waitFor(const uint64_t &times) {
  Fiber &fiber = running->fibers[running->current];
  fiber.waitsFor = &times;
  fiber.seen = times;
  swapcontext(&fiber.context, &running->scheduler);
}

void body() {
  (*running->kernel)();
  Fiber &fiber = running->fibers[running->current];
  fiber.ended = true;
  swapcontext(&fiber.context, &running->scheduler);
}

/// Runs what can run of the warp until nothing can; whether anything did.
bool runWarp(Block &block, int warp, bool backwards) {
  bool any = false, progress = true;
  while (progress) {
    progress = false;
    for (int i = 0; i < kLanes; ++i) {
      int thread = warp * kLanes + (backwards ? kLanes - 1 - i : i);
      Fiber &fiber = block.fibers[thread];
      if (fiber.ended || (fiber.waitsFor && *fiber.waitsFor == fiber.seen))
        continue;
      fiber.waitsFor = nullptr;
      block.current = thread;
      swapcontext(&block.scheduler, &fiber.context);
      progress = any = true;
    }
  }
  return any;
}

bool runBlock(Block &block, int threads, bool backwards) {
  // Bytes 0xff are NaN in every type.
  std::memset(block.shared.data(), 0xff, block.shared.size());
  for (Fiber &fiber : block.fibers) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, body, 0);
    fiber.groups.assign(1, {});
    fiber.waitsFor = nullptr;
    fiber.ended = false;
  }
  const int warps = threads / kLanes;
  for (bool any = true; any;) {
    any = false;
    for (int i = 0; i < warps; ++i)
      any |= runWarp(block, backwards ? warps - 1 - i : i, backwards);
  }
  for (int i = 0; i < threads; ++i)
    if (!block.fibers[i].ended) {
      std::fprintf(stderr, "emulator: block %d: thread %d waits for ever\n", block.block, i);
      return false;
    }
  return true;
}

} // namespace

bool launch(int blocks, int threads, size_t sharedBytes, bool backwards, const std::function<void()> &kernel) {
  Block block;
  block.kernel = &kernel;
  block.fibers.resize(threads);
  for (Fiber &fiber : block.fibers)
    fiber.stack = std::make_unique<unsigned char[]>(kStackBytes);
  block.warps.resize(threads / kLanes);
  block.given = std::vector<std::array<void *, kLanes>>(threads / kLanes);
  block.shared.resize(sharedBytes + 128);
  block.copiesAtOnce = backwards;
  running = &block;
  bool good = true;
  for (int i = 0; i < blocks && good; ++i) {
    block.block = backwards ? blocks - 1 - i : i;
    good = runBlock(block, threads, backwards);
  }
  running = nullptr;
  return good;
}

int threadIndex() { return running->current; }
int blockIndex() { return running->block; }
void *shared() {
  auto address = reinterpret_cast<uintptr_t>(running->shared.data());
  return running->shared.data() + (128 - address % 128) % 128;
}

void barrier() {
  Meeting &all = running->all;
  if (++all.arrived < int(running->fibers.size()))
    return waitFor(all.times);
  all.arrived = 0;
  ++all.times;
}

void together(void *mine, void (*perform)(std::span<void *const> lanes)) {
  const int warp = running->current / kLanes;
  Meeting &meeting = running->warps[warp];
  auto &given = running->given[warp];
  given[running->current % kLanes] = mine;
  if (++meeting.arrived < kLanes)
    return waitFor(meeting.times);
  perform(given);
  meeting.arrived = 0;
  ++meeting.times;
}

size_t sharedBytes() { return running->shared.size() - 128; }

void copyLater(void *to, const void *from, bool valid) {
  if (running->copiesAtOnce)
    return complete({to, from, valid});
  running->fibers[running->current].groups.back().push_back({to, from, valid});
}
void commit() { running->fibers[running->current].groups.emplace_back(); }
void wait(int groups) {
  auto &all = running->fibers[running->current].groups;
  const size_t open = size_t(groups) + 1;
  if (all.size() <= open)
    return;
  const auto end = all.end() - ptrdiff_t(open);
  for (auto group = all.begin(); group != end; ++group)
    for (const Copy &copy : *group)
      complete(copy);
  all.erase(all.begin(), end);
}

void exchange(std::span<void *const> lanes) {
  for (int i = 0; i < kLanes; ++i) {
    auto *to = static_cast<Exchange *>(lanes[i]);
    to->received = static_cast<Exchange *>(lanes[i ^ to->lanes])->value;
  }
}

void load(std::span<void *const> lanes) {
  for (int lane = 0; lane < kLanes; ++lane)
    for (int matrix = 0; matrix < 4; ++matrix) {
      auto *from = static_cast<const uint32_t *>(static_cast<MatrixLoad *>(lanes[8 * matrix + lane / 4])->row);
      static_cast<MatrixLoad *>(lanes[lane])->to[matrix] = from[lane % 4];
    }
}
void loadTransposed(std::span<void *const> lanes) {
  for (int lane = 0; lane < kLanes; ++lane)
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint32_t both = 0;
      for (int i = 0; i < 2; ++i) {
        const int row = 2 * (lane % 4) + i;
        auto *from = static_cast<const uint16_t *>(static_cast<MatrixLoad *>(lanes[8 * matrix + row])->row);
        both |= uint32_t(from[lane / 4]) << (16 * i);
      }
      static_cast<MatrixLoad *>(lanes[lane])->to[matrix] = both;
    }
}

void multiply(std::span<void *const> lanes) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    auto *mine = static_cast<const Product *>(lanes[lane]);
    const int group = lane / 4, pair = 2 * (lane % 4);
    for (int i = 0; i < 2; ++i) {
      for (int part = 0; part < 4; ++part)
        a[group + 8 * (part & 1)][pair + i + 8 * (part >> 1)] = mine->value(uint16_t(mine->a[part] >> (16 * i)));
      for (int part = 0; part < 2; ++part)
        b[pair + i + 8 * part][group] = mine->value(uint16_t(mine->b[part] >> (16 * i)));
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    auto *mine = static_cast<const Product *>(lanes[lane]);
    for (int part = 0; part < 4; ++part) {
      const int row = lane / 4 + 8 * (part >> 1), column = 2 * (lane % 4) + (part & 1);
      float sum = mine->sum[part];
      for (int k = 0; k < 16; ++k)
        sum += a[row][k] * b[k][column];
      mine->sum[part] = sum;
    }
  }
}

float valueOfBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }
uint16_t bf16Of(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return uint16_t(value != value ? (bits >> 16) | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float valueOfF16(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const float mantissa = float(bits & 1023);
  const float size = exponent == 31  ? (bits & 1023 ? NAN : INFINITY)
                     : exponent == 0 ? std::ldexp(mantissa, -24)
                                     : std::ldexp(1024 + mantissa, exponent - 25);
  return bits >> 15 ? -size : size;
}
uint16_t f16Of(float value) {
  const uint16_t sign = uint16_t(std::bit_cast<uint32_t>(value) >> 16 & 0x8000);
  const float size = std::fabs(value);
  if (size != size)
    return sign | 0x7e00;
  if (size >= 65520)
    return sign | 0x7c00;
  if (size == 0)
    return sign;
  int exponent;
  std::frexp(size, &exponent); // size < 2^exponent
  const int unit = exponent < -13 ? -24 : exponent - 11;
  const long steps = std::lrint(std::ldexp(size, -unit)); // up to 2048, ties to even
  return sign | uint16_t(unit == -24 ? steps : (long(unit + 24) << 10) + steps);
}

} // namespace mlc::attention::emulator
