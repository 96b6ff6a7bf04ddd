//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A grammar's automaton made deterministic as it is walked. A state is a set of configurations, each a position that
// takes a byte and the stack of positions to return to; equal stacks are one, so that equal sets are one state, and
// what follows a state by a byte is computed once.
//
#pragma once

#include "runtime/llm/grammar/Automaton.h"

namespace mlc::grammar {

constexpr uint32_t kDead = 1; // The state after which nothing is possible. 0: not computed yet.

class Walker {
public:
  Walker(const Automaton &automaton, const Allocator &allocator) : automaton(automaton), allocator(allocator) {}

  /// The state before any text.
  Status start(uint32_t &state);
  /// The state after one more byte of `state`.
  Status next(uint32_t state, uint8_t byte, uint32_t &out) {
    uint32_t known = states[state].table[automaton.classOf[byte]];
    if (known) {
      out = known;
      return {};
    }
    return compute(state, automaton.classOf[byte], out);
  }
  bool accepts(uint32_t state) const { return states[state].accepts; }
  /// Whether there is room to go on; else `state` is kept alone and gets a new number.
  bool crowded() const;
  Status forget(uint32_t &state);
  /// How many characters that stand for themselves in JSON text may follow, whichever they are; 255: any number.
  Status run(uint32_t state, uint8_t &out);
  uint32_t count() const { return stateCount; }

private:
  struct Config {
    uint32_t position, stack;
    bool operator==(const Config &other) const { return position == other.position && stack == other.stack; }
    bool operator<(const Config &other) const {
      return position != other.position ? position < other.position : stack < other.stack;
    }
  };
  struct Stack {
    uint32_t position, parent, depth;
  };
  struct State {
    const Config *configs;
    uint32_t *table;
    uint32_t count;
    bool accepts;
    int16_t run; // -1: not known.
  };
  Status prepare();
  Status compute(uint32_t state, uint8_t byteClass, uint32_t &out);
  Status close(Config config);
  Status push(uint32_t position, uint32_t parent, uint32_t &out);
  Status intern(uint32_t &out);
  Status collect(Config config, bool &fresh);
  bool sameFor(uint32_t state, uint8_t low, uint8_t high, uint32_t &target, Status &status);
  Error full() const { return Error(ErrorCode::OutOfMemory, "no memory for the grammar's states"); }

  const Automaton &automaton;
  Allocator allocator;
  std::optional<Arena> arena;
  OwnedArray<State> states;
  uint32_t stateCount = 0;
  OwnedArray<Stack> stacks;
  uint32_t stackCount = 0;
  OwnedArray<uint32_t> stateSlots, stackSlots;
  // Of one closure.
  OwnedArray<Config> found, work;
  uint32_t foundCount = 0, workCount = 0;
  bool foundAccepts = false;
  struct Seen {
    Config config;
    uint32_t epoch;
  };
  OwnedArray<Seen> seen;
  uint32_t seenCount = 0, epoch = 0;
};

} // namespace mlc::grammar
