//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/grammar/Walker.h"

#include <algorithm>

namespace mlc::grammar {

namespace {

constexpr uint32_t kMaxStates = 1 << 14, kStateSlots = kMaxStates * 4;
constexpr uint32_t kMaxStacks = 1 << 16, kStackSlots = kMaxStacks * 2;
constexpr uint32_t kMaxConfigs = 4096, kSeenSlots = 1 << 15;
constexpr uint32_t kMaxDepth = 1000; // Of nested rules.
constexpr size_t kMemory = size_t(96) << 20;

uint32_t mix(uint32_t a, uint32_t b) {
  uint64_t hash = (uint64_t(a) << 32 | b) * 0x9e3779b97f4a7c15;
  return uint32_t(hash >> 32) ^ uint32_t(hash);
}

} // namespace

Status Walker::prepare() {
  arena.emplace(kMemory, allocator);
  if (!stateSlots.size()) {
    // Zeroed by the allocator, and touched only as far as a grammar needs.
    MLC_ASSIGN(states, OwnedArray<State>::create(allocator, kMaxStates, "grammar states"));
    MLC_ASSIGN(stacks, OwnedArray<Stack>::create(allocator, kMaxStacks, "grammar stacks"));
    MLC_ASSIGN(found, OwnedArray<Config>::create(allocator, kMaxConfigs, "grammar states"));
    MLC_ASSIGN(work, OwnedArray<Config>::create(allocator, kMaxConfigs * 4, "grammar states"));
    MLC_ASSIGN(seen, OwnedArray<Seen>::create(allocator, kSeenSlots, "grammar states"));
    MLC_ASSIGN(stackSlots, OwnedArray<uint32_t>::create(allocator, kStackSlots, "grammar stacks"));
    MLC_ASSIGN(stateSlots, OwnedArray<uint32_t>::create(allocator, kStateSlots, "grammar states"));
  } else {
    memset(stateSlots.data(), 0, kStateSlots * sizeof(uint32_t));
    memset(stackSlots.data(), 0, kStackSlots * sizeof(uint32_t));
    memset(static_cast<void *>(seen.data()), 0, kSeenSlots * sizeof(Seen));
  }
  epoch = 0;
  stackCount = 1; // 0: the empty stack.
  stacks[0] = {0, 0, 0};
  stateCount = 0;
  // 0 is no state, 1 is dead.
  for (uint32_t i = 0; i < 2; ++i) {
    auto *table = arena->array<uint32_t>(automaton.classes);
    if (!table)
      return full();
    std::fill(table, table + automaton.classes, kDead);
    states[stateCount++] = {nullptr, table, 0, false, 0};
  }
  return {};
}

Status Walker::start(uint32_t &state) {
  MLC_TRY(prepare());
  foundCount = workCount = seenCount = 0;
  foundAccepts = false;
  ++epoch;
  MLC_TRY(close({automaton.starts[automaton.root], 0}));
  return intern(state);
}

bool Walker::crowded() const {
  return stateCount > kMaxStates / 2 || stackCount > kMaxStacks / 2 || arena->bytes() > kMemory / 2;
}

Status Walker::push(uint32_t position, uint32_t parent, uint32_t &out) {
  uint32_t slot = mix(position, parent) % kStackSlots;
  while (stackSlots[slot]) {
    const Stack &known = stacks[stackSlots[slot]];
    if (known.position == position && known.parent == parent) {
      out = stackSlots[slot];
      return {};
    }
    slot = (slot + 1) % kStackSlots;
  }
  if (stackCount == kMaxStacks)
    return Error(ErrorCode::OutOfRange, "the grammar needs more than %u stacks at once", kMaxStacks);
  stacks[stackCount] = {position, parent, stacks[parent].depth + 1};
  stackSlots[slot] = out = stackCount++;
  return {};
}

/// Notes a configuration of this closure; fresh: it was not there.
Status Walker::collect(Config config, bool &fresh) {
  uint32_t slot = mix(config.position, config.stack) % kSeenSlots;
  while (seen[slot].epoch == epoch) {
    if (seen[slot].config == config) {
      fresh = false;
      return {};
    }
    slot = (slot + 1) % kSeenSlots;
  }
  if (++seenCount > kSeenSlots / 2 || workCount + 2 > kMaxConfigs * 4)
    return Error(ErrorCode::OutOfRange, "the grammar is too ambiguous: more than %u ways to go on", kSeenSlots / 2);
  seen[slot] = {config, epoch};
  fresh = true;
  return {};
}

/// Adds all configurations that take a byte and are reached from `config` without one.
Status Walker::close(Config config) {
  work[workCount++] = config;
  while (workCount) {
    Config at = work[--workCount];
    bool fresh;
    MLC_TRY(collect(at, fresh));
    if (!fresh)
      continue;
    const Position &position = automaton.positions[at.position];
    switch (position.step) {
    case Step::byte:
      if (foundCount == kMaxConfigs)
        return Error(ErrorCode::OutOfRange, "the grammar is too ambiguous: more than %u ways to go on", kMaxConfigs);
      found[foundCount++] = at;
      break;
    case Step::fork:
      work[workCount++] = {position.next, at.stack};
      work[workCount++] = {position.other, at.stack};
      break;
    case Step::call: {
      uint32_t stack = at.stack;
      // Where nothing follows in the caller, the callee returns to the caller's caller.
      if (automaton.positions[position.next].step != Step::end) {
        // What nests deeper is not possible any more, as if the grammar said so.
        if (stacks[stack].depth == kMaxDepth)
          break;
        MLC_TRY(push(position.next, stack, stack));
      }
      work[workCount++] = {automaton.starts[position.other], stack};
      break;
    }
    case Step::end:
      if (!at.stack)
        foundAccepts = true;
      else
        work[workCount++] = {stacks[at.stack].position, stacks[at.stack].parent};
      break;
    }
  }
  return {};
}

/// The state of what was found.
Status Walker::intern(uint32_t &out) {
  if (!foundCount && !foundAccepts) {
    out = kDead;
    return {};
  }
  std::sort(found.begin(), found.begin() + foundCount);
  uint32_t hash = foundAccepts;
  for (uint32_t i = 0; i < foundCount; ++i)
    hash = mix(hash ^ found[i].position, found[i].stack);
  uint32_t slot = hash % kStateSlots;
  while (stateSlots[slot]) {
    const State &known = states[stateSlots[slot]];
    if (known.count == foundCount && known.accepts == foundAccepts &&
        std::equal(found.begin(), found.begin() + foundCount, known.configs)) {
      out = stateSlots[slot];
      return {};
    }
    slot = (slot + 1) % kStateSlots;
  }
  auto *configs = arena->array<Config>(foundCount);
  auto *table = arena->array<uint32_t>(automaton.classes);
  if (!configs || !table || stateCount == kMaxStates)
    return Error(ErrorCode::OutOfRange, "one token leads through more than %u states of the grammar", kMaxStates / 2);
  std::copy(found.begin(), found.begin() + foundCount, configs);
  std::fill(table, table + automaton.classes, 0u);
  states[stateCount] = {configs, table, foundCount, foundAccepts, -1};
  stateSlots[slot] = out = stateCount++;
  return {};
}

Status Walker::compute(uint32_t state, uint8_t byteClass, uint32_t &out) {
  uint8_t byte = automaton.sample[byteClass];
  foundCount = workCount = seenCount = 0;
  foundAccepts = false;
  if (++epoch == 0) {
    memset(static_cast<void *>(seen.data()), 0, kSeenSlots * sizeof(Seen));
    epoch = 1;
  }
  for (uint32_t i = 0; i < states[state].count; ++i) {
    const Config &config = states[state].configs[i];
    const Position &position = automaton.positions[config.position];
    if (position.low <= byte && byte <= position.high)
      MLC_TRY(close({position.next, config.stack}));
  }
  MLC_TRY(intern(out));
  states[state].table[byteClass] = out;
  return {};
}

/// Everything but `state` is dropped.
Status Walker::forget(uint32_t &state) {
  if (state == kDead)
    return {};
  // The old tables are read while the new ones are filled.
  const State kept = states[state];
  auto configs = OwnedArray<Config>::create(allocator, kept.count + 1, "grammar states");
  if (!configs)
    return configs.error();
  std::copy(kept.configs, kept.configs + kept.count, configs->begin());
  auto oldStacks = OwnedArray<Stack>::create(allocator, stackCount, "grammar stacks");
  if (!oldStacks)
    return oldStacks.error();
  std::copy(stacks.begin(), stacks.begin() + stackCount, oldStacks->begin());
  MLC_TRY(prepare());
  foundCount = 0;
  foundAccepts = kept.accepts;
  for (uint32_t i = 0; i < kept.count; ++i) {
    uint32_t path[kMaxDepth + 1], depth = 0, stack = 0;
    for (uint32_t at = (*configs)[i].stack; at; at = (*oldStacks)[at].parent)
      path[depth++] = (*oldStacks)[at].position;
    while (depth)
      MLC_TRY(push(path[--depth], stack, stack));
    found[foundCount++] = {(*configs)[i].position, stack};
  }
  return intern(state);
}

/// Whether all bytes low..high lead from `state` to one state, which must be `target` where that is set.
bool Walker::sameFor(uint32_t state, uint8_t low, uint8_t high, uint32_t &target, Status &status) {
  int last = -1;
  for (unsigned byte = low; byte <= high; ++byte) {
    if (automaton.classOf[byte] == last)
      continue;
    last = automaton.classOf[byte];
    uint32_t to;
    if (Status done = next(state, uint8_t(byte), to); !done) {
      new (&status) Status(done);
      return false;
    }
    if (to == kDead || (target && to != target))
      return false;
    target = to;
  }
  return true;
}

Status Walker::run(uint32_t state, uint8_t &out) {
  constexpr int kLongest = 40; // Tokens of more characters are walked.
  uint32_t chain[kLongest];
  int length = 0;
  uint32_t at = state;
  int behind = 0;
  while (length < kLongest) {
    if (states[at].run >= 0) {
      behind = states[at].run;
      break;
    }
    chain[length++] = at;
    uint32_t target = 0;
    Status status;
    struct Bytes {
      uint8_t low, high;
    };
    static constexpr Bytes ascii[] = {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, 0x7e}};
    static constexpr struct {
      Bytes lead, second;
      unsigned more;
    } chars[] = {{{0xc2, 0xdf}, {0x80, 0xbf}, 0}, {{0xe0, 0xe0}, {0xa0, 0xbf}, 1}, {{0xe1, 0xec}, {0x80, 0xbf}, 1},
                 {{0xed, 0xed}, {0x80, 0x9f}, 1}, {{0xee, 0xef}, {0x80, 0xbf}, 1}, {{0xf0, 0xf0}, {0x90, 0xbf}, 2},
                 {{0xf1, 0xf3}, {0x80, 0xbf}, 2}, {{0xf4, 0xf4}, {0x80, 0x8f}, 2}};
    bool same = true;
    for (Bytes bytes : ascii)
      same = same && sameFor(at, bytes.low, bytes.high, target, status);
    for (const auto &each : chars) {
      uint32_t first = 0, second = 0, third = 0;
      same = same && sameFor(at, each.lead.low, each.lead.high, first, status) &&
             sameFor(first, each.second.low, each.second.high, each.more ? second : target, status) &&
             (each.more < 1 || sameFor(second, 0x80, 0xbf, each.more == 1 ? target : third, status)) &&
             (each.more < 2 || sameFor(third, 0x80, 0xbf, target, status));
    }
    MLC_TRY(Status(status));
    if (!same) {
      states[at].run = 0;
      --length;
      break;
    }
    if (target == at) {
      states[at].run = 255;
      --length;
      behind = 255;
      break;
    }
    at = target;
  }
  while (length) {
    behind = behind == 255 ? 255 : std::min(behind + 1, 254);
    states[chain[--length]].run = int16_t(behind);
  }
  out = uint8_t(states[state].run);
  return {};
}

} // namespace mlc::grammar
