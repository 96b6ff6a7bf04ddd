//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/tests/SoftwareTiles.h"

#if defined(__x86_64__) && defined(__linux__)

#include "runtime/core/Float16.h"

#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <limits>
#include <ucontext.h>
#include <unistd.h>

namespace mlc::test {
namespace {

constexpr int kTiles = 8, kMaxRows = 16, kMaxBytes = 64;

struct Tile {
  int rows = 0, bytes = 0;
  alignas(64) uint8_t data[kMaxRows][kMaxBytes] = {};
};

/// A thread's tile registers; none before ldtilecfg.
struct TileState {
  bool configured = false;
  Tile tiles[kTiles];
};
thread_local TileState state;

/// What the processor would refuse as well.
[[noreturn]] void refuse(const char *why) {
  constexpr char kBefore[] = "software tiles: ";
  (void)!write(STDERR_FILENO, kBefore, sizeof kBefore - 1);
  (void)!write(STDERR_FILENO, why, strlen(why));
  (void)!write(STDERR_FILENO, "\n", 1);
  _exit(128 + SIGILL);
}

/// One instruction: VEX in three bytes, opcode, ModRM, perhaps SIB and displacement.
struct Instruction {
  int prefix = 0, opcode = 0;    // VEX.pp: 0 none, 1 66, 2 F3, 3 F2
  int reg = 0, rm = 0, vvvv = 0; // Register operands.
  bool memory = false, sib = false;
  uint8_t *address = nullptr; // base + displacement
  int64_t stride = 0;         // index times scale
  const uint8_t *end = nullptr;
};

int64_t general(const ucontext_t &context, int which) {
  constexpr int kOrder[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                            REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return context.uc_mcontext.gregs[kOrder[which]];
}

/// Returns whether the bytes are VEX.128.0F38.W0, where the tile instructions lie.
bool decode(const ucontext_t &context, Instruction &in) {
  const auto *p = reinterpret_cast<const uint8_t *>(context.uc_mcontext.gregs[REG_RIP]);
  if (p[0] != 0xc4 || (p[1] & 0x1f) != 2 || (p[2] & 0x84))
    return false;
  const int r = !(p[1] & 0x80), x = !(p[1] & 0x40), b = !(p[1] & 0x20);
  in.prefix = p[2] & 3;
  in.vvvv = ~(p[2] >> 3) & 15;
  in.opcode = p[3];
  const int mod = p[4] >> 6, low = p[4] & 7;
  in.reg = (p[4] >> 3 & 7) | r << 3;
  in.rm = low | b << 3;
  in.end = p + 5;
  in.memory = mod != 3;
  if (!in.memory)
    return true;
  int64_t base = 0;
  bool relative = false, wide = mod == 2;
  if (low == 4) {
    in.sib = true;
    const int sib = *in.end++, index = (sib >> 3 & 7) | x << 3, from = (sib & 7) | b << 3;
    in.stride = index == 4 ? 0 : int64_t(uint64_t(general(context, index)) << (sib >> 6));
    if ((sib & 7) == 5 && mod == 0)
      wide = true;
    else
      base = general(context, from);
  } else if (low == 5 && mod == 0) {
    relative = wide = true;
  } else {
    base = general(context, in.rm);
  }
  int64_t displacement = 0;
  if (wide) {
    int32_t value;
    memcpy(&value, in.end, 4);
    displacement = value;
    in.end += 4;
  } else if (mod == 1) {
    displacement = int8_t(*in.end++);
  }
  if (relative)
    base = reinterpret_cast<int64_t>(in.end);
  in.address = reinterpret_cast<uint8_t *>(base + displacement);
  return true;
}

void configure(const uint8_t *config) {
  if (config[0] > 1)
    refuse("ldtilecfg: a palette that there is not");
  for (int i = 2; i < 64; ++i)
    if (((i < 16) || (i >= 32 && i < 48) || i >= 56) && config[i])
      refuse("ldtilecfg: what is reserved is not 0");
  state = TileState();
  state.configured = config[0] == 1;
  for (int i = 0; i < kTiles && state.configured; ++i) {
    uint16_t bytes;
    memcpy(&bytes, config + 16 + 2 * i, 2);
    const int rows = config[48 + i];
    if (rows > kMaxRows || bytes > kMaxBytes || !rows != !bytes)
      refuse("ldtilecfg: a shape of a tile that there is not");
    state.tiles[i].rows = rows;
    state.tiles[i].bytes = bytes;
  }
}

Tile &tile(int which) {
  if (!state.configured || which >= kTiles || !state.tiles[which].rows)
    refuse("a tile that is not configured");
  return state.tiles[which];
}

void clear(Tile &t) { memset(t.data, 0, sizeof t.data); }

void load(Tile &t, const uint8_t *rows, int64_t stride) {
  clear(t);
  for (int r = 0; r < t.rows; ++r)
    memcpy(t.data[r], rows + r * stride, size_t(t.bytes));
}

void store(const Tile &t, uint8_t *rows, int64_t stride) {
  for (int r = 0; r < t.rows; ++r)
    memcpy(rows + r * stride, t.data[r], size_t(t.bytes));
}

/// sums += x y: of bytes, X and Y the type of one.
template <typename X, typename Y> void multiplyBytes(Tile &sums, const Tile &x, const Tile &y) {
  for (int m = 0; m < sums.rows; ++m)
    for (int k = 0; k < x.bytes / 4; ++k)
      for (int n = 0; n < sums.bytes / 4; ++n) {
        int32_t sum;
        memcpy(&sum, sums.data[m] + 4 * n, 4);
        for (int i = 0; i < 4; ++i)
          sum = int32_t(uint32_t(sum) + uint32_t(int32_t(X(x.data[m][4 * k + i])) * int32_t(Y(y.data[k][4 * n + i]))));
        memcpy(sums.data[m] + 4 * n, &sum, 4);
      }
}

// Machines that run the form have these instructions.
#define MLC_WITH_FMA __attribute__((target("avx2,fma")))

/// Subnormal numbers are 0.
MLC_WITH_FMA inline float flushed(float x) {
  return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}
MLC_WITH_FMA inline float fromBf16(const uint8_t *p) {
  uint16_t bits;
  memcpy(&bits, p, 2);
  return flushed(bf16ToF32(bits));
}

/// The same of pairs of bf16: even and odd products have a sum each, and meet at the end.
MLC_WITH_FMA void multiplyPairs(Tile &sums, const Tile &x, const Tile &y) {
  for (int m = 0; m < sums.rows; ++m) {
    float even[kMaxBytes / 4] = {}, odd[kMaxBytes / 4] = {};
    for (int k = 0; k < x.bytes / 4; ++k) {
      const float first = fromBf16(x.data[m] + 4 * k), second = fromBf16(x.data[m] + 4 * k + 2);
      for (int n = 0; n < sums.bytes / 4; ++n) {
        even[n] = flushed(std::fma(first, fromBf16(y.data[k] + 4 * n), even[n]));
        odd[n] = flushed(std::fma(second, fromBf16(y.data[k] + 4 * n + 2), odd[n]));
      }
    }
    for (int n = 0; n < sums.bytes / 4; ++n) {
      float sum;
      memcpy(&sum, sums.data[m] + 4 * n, 4);
      sum = flushed(flushed(sum) + flushed(even[n] + odd[n]));
      memcpy(sums.data[m] + 4 * n, &sum, 4);
    }
  }
}

void multiply(const Instruction &in) {
  if (in.reg == in.rm || in.reg == in.vvvv || in.rm == in.vvvv)
    refuse("a product of a tile with itself");
  Tile &sums = tile(in.reg), &x = tile(in.rm), &y = tile(in.vvvv);
  if (sums.rows != x.rows || sums.bytes != y.bytes || x.bytes != 4 * y.rows || sums.bytes % 4)
    refuse("a product of tiles whose shapes do not fit");
  if (in.opcode == 0x5c && in.prefix == 2)
    return multiplyPairs(sums, x, y);
  if (in.opcode != 0x5e)
    refuse("a product that is not known");
  switch (in.prefix) {
  case 0:
    return multiplyBytes<uint8_t, uint8_t>(sums, x, y);
  case 1:
    return multiplyBytes<uint8_t, int8_t>(sums, x, y);
  case 2:
    return multiplyBytes<int8_t, uint8_t>(sums, x, y);
  default:
    return multiplyBytes<int8_t, int8_t>(sums, x, y);
  }
}

/// Returns false for what is no tile instruction.
bool execute(const Instruction &in) {
  if (in.opcode == 0x49 && in.memory && in.prefix == 0)
    return configure(in.address + in.stride), true;
  if (in.opcode == 0x49 && !in.memory && in.prefix == 0)
    return state = TileState(), true;
  if (in.opcode == 0x49 && !in.memory && in.prefix == 3)
    return clear(tile(in.reg)), true;
  if (in.opcode == 0x4b && in.sib && (in.prefix == 1 || in.prefix == 3))
    return load(tile(in.reg), in.address, in.stride), true;
  if (in.opcode == 0x4b && in.sib && in.prefix == 2)
    return store(tile(in.reg), in.address, in.stride), true;
  if ((in.opcode == 0x5c || in.opcode == 0x5e) && !in.memory)
    return multiply(in), true;
  return false;
}

void onIllegal(int signal, siginfo_t *, void *context) {
  ucontext_t &machine = *static_cast<ucontext_t *>(context);
  Instruction in;
  if (decode(machine, in) && execute(in))
    machine.uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(in.end);
  else
    ::signal(signal, SIG_DFL); // The instruction runs again and ends the program.
}

} // namespace

bool softwareTiles() {
  static const bool installed = [] {
    struct sigaction action = {};
    action.sa_sigaction = onIllegal;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    return sigaction(SIGILL, &action, nullptr) == 0;
  }();
  return installed;
}

} // namespace mlc::test

#else

bool mlc::test::softwareTiles() { return false; }

#endif
