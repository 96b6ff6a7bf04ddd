//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Networks: the names of ports, what runs hand on, and which ranges of the arena may lie elsewhere.
//
#include "runtime/artifact/ProgramVerifier.h"

#include <algorithm>

namespace mlc {

using ull = unsigned long long;

// Ports have names of their own and slots of their own, without strides.
Status ProgramVerifier::checkPorts(const fb::Function &function) const {
  if (!countOf(function.input_names()) && !countOf(function.output_names()))
    return {};
  uint32_t inputs = countOf(function.inputs()), ports = inputs + countOf(function.outputs());
  if (countOf(function.input_names()) != inputs || countOf(function.output_names()) != ports - inputs)
    return MLC_REFUSE(PortNames, ErrorCode::Corrupt, "%s: function '%.60s': %u names for %u inputs, %u for %u outputs",
                      name(), functionName, countOf(function.input_names()), inputs, countOf(function.output_names()),
                      ports - inputs);
  struct Entry {
    uint64_t hash;
    uint32_t slot, port;
  };
  MLC_ASSIGN(auto order, OwnedArray<Entry>::create(allocator, ports, "ports"));
  for (uint32_t i = 0; i < ports; ++i) {
    bool input = i < inputs;
    uint32_t at = input ? i : i - inputs;
    const flatbuffers::String *text = (input ? function.input_names() : function.output_names())->Get(at);
    MLC_TRY(checkName(text, input ? "input" : "output", at));
    // An output may have the name of an input.
    order[i] = {digest64({text->Data(), text->size()}) ^ (input ? 0 : 1),
                (input ? function.inputs() : function.outputs())->Get(at), i};
    if (countOf(meta.slots()->Get(order[i].slot)->strides()))
      return MLC_REFUSE(PortSlots, ErrorCode::Corrupt, "%s: function '%.60s': port '%.60s' lies in a slot with strides",
                        name(), functionName, Printable(text->c_str()).c_str());
  }
  std::sort(order.begin(), order.end(), [](const Entry &a, const Entry &b) { return a.hash < b.hash; });
  for (uint32_t i = 1; i < ports; ++i)
    if (order[i].hash == order[i - 1].hash)
      return MLC_REFUSE(PortNames, ErrorCode::Corrupt, "%s: function '%.60s': ports %u and %u have one name", name(),
                        functionName, order[i - 1].port, order[i].port);
  std::sort(order.begin(), order.end(), [](const Entry &a, const Entry &b) { return a.slot < b.slot; });
  for (uint32_t i = 1; i < ports; ++i)
    if (order[i].slot == order[i - 1].slot)
      return MLC_REFUSE(PortSlots, ErrorCode::Corrupt, "%s: function '%.60s': ports %u and %u lie in one slot", name(),
                        functionName, order[i - 1].port, order[i].port);
  return {};
}

Status ProgramVerifier::checkCarry(const fb::State &state) const {
  const fb::CarrySpec *spec = state.carry();
  auto valid = [&](uint32_t index) {
    if (index >= slotBytes.size() || !slotBytes[index])
      return false;
    const fb::Slot &slot = *meta.slots()->Get(index);
    bool fixed = slot.space() == fb::Space::arena && !countOf(slot.strides());
    for (uint32_t i = 0; i < countOf(slot.dims()); ++i)
      fixed = fixed && slot.dims()->Get(i)->extent() < 0;
    return fixed;
  };
  bool good = spec && valid(spec->input()) && valid(spec->output());
  if (good) {
    const fb::Slot &from = *meta.slots()->Get(spec->input()), &to = *meta.slots()->Get(spec->output());
    good = from.dtype() == to.dtype() && countOf(from.dims()) == countOf(to.dims());
    for (uint32_t i = 0; good && i < countOf(from.dims()); ++i)
      good = from.dims()->Get(i)->value() == to.dims()->Get(i)->value();
  }
  if (good)
    return {};
  return MLC_REFUSE(CarrySpec, ErrorCode::Corrupt,
                    "%s: state '%.60s': input and output must be slots of the arena with one fixed type", name(),
                    state.name()->c_str());
}

// A language model's sessions keep sequences, a network's streams.
Status ProgramVerifier::checkStateKinds() const {
  for (uint32_t i = 0; i < countOf(meta.states()); ++i)
    if ((meta.states()->Get(i)->kind() == fb::StateKind::carry) == (program.step >= 0))
      return MLC_REFUSE(StateKind, ErrorCode::Unsupported, "%s: state '%.60s': kind %s is not one of a %s", name(),
                        meta.states()->Get(i)->name()->c_str(), fb::EnumNameStateKind(meta.states()->Get(i)->kind()),
                        program.step >= 0 ? "language model" : "network");
  return {};
}

static bool hasPort(const flatbuffers::Vector<uint32_t> *ports, uint32_t slot) {
  return ports && std::find(ports->begin(), ports->end(), slot) != ports->end();
}

// A range stays in the list when every slot of the arena lies inside it or apart from it.
Status ProgramVerifier::verifyNetwork() {
  uint64_t most = 0;
  for (uint32_t i = 0; i < countOf(meta.functions()); ++i)
    if (const fb::Function &function = *meta.functions()->Get(i);
        countOf(function.input_names()) || countOf(function.output_names()))
      most += countOf(function.inputs()) + countOf(function.outputs());
  if (most > kMaxPorts)
    return MLC_REFUSE(PortNames, ErrorCode::Corrupt, "%s: %llu inputs and outputs, at most %u", name(), ull(most),
                      kMaxPorts);
  most += 2 * countOf(meta.states());
  MLC_ASSIGN(auto found, OwnedArray<MovableRange>::create(allocator, most, "ranges"));
  uint32_t count = 0;
  auto add = [&](uint32_t slot, int32_t state) {
    if (slotBytes[slot])
      found[count++] = {meta.slots()->Get(slot)->offset(), slotBytes[slot], slot, state};
  };
  for (uint32_t i = 0; i < countOf(meta.states()); ++i) {
    const fb::CarrySpec &spec = *meta.states()->Get(i)->carry();
    bool ports = false;
    for (uint32_t f = 0; f < countOf(meta.functions()) && !ports; ++f) {
      const fb::Function &function = *meta.functions()->Get(f);
      ports = countOf(function.input_names()) && hasPort(function.inputs(), spec.input()) &&
              hasPort(function.outputs(), spec.output());
    }
    if (!ports)
      return MLC_REFUSE(CarryPorts, ErrorCode::Corrupt,
                        "%s: state '%.60s' leads not from an output to an input of one function", name(),
                        meta.states()->Get(i)->name()->c_str());
    add(spec.input(), int32_t(i));
    add(spec.output(), int32_t(i));
  }
  for (uint32_t i = 0; i < countOf(meta.functions()); ++i) {
    const fb::Function &function = *meta.functions()->Get(i);
    if (!countOf(function.input_names()) && !countOf(function.output_names()))
      continue;
    for (auto *list : {function.inputs(), function.outputs()})
      for (uint32_t k = 0; k < countOf(list); ++k)
        add(list->Get(k), -1);
  }

  // States come before ports of the same slot, and stand for both.
  auto before = [](const MovableRange &a, const MovableRange &b) {
    return a.offset != b.offset ? a.offset < b.offset : a.slot != b.slot ? a.slot < b.slot : a.state > b.state;
  };
  std::sort(found.begin(), found.begin() + count, before);
  // `refused`: the first state that shares its range.
  int32_t refused = -1;
  MLC_ASSIGN(auto shared, OwnedArray<int32_t>::create(allocator, uint64_t(count) + 1, "ranges"));
  auto drop = [&](const auto &isShared) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; ++i) {
      if (!isShared(i))
        found[kept++] = found[i];
      else if (refused < 0)
        refused = found[i].state;
    }
    count = kept;
  };
  uint32_t last = 0; // Of those before, the one that reaches furthest.
  for (uint32_t i = 1; i < count; ++i) {
    // A slot of two states is neither's; of a state and a port, it is the state's.
    if (found[i].slot == found[i - 1].slot) {
      shared[i] = 1;
      continue;
    }
    if (found[last].offset + found[last].bytes > found[i].offset)
      shared[i] = shared[last] = 1;
    if (found[last].offset + found[last].bytes < found[i].offset + found[i].bytes)
      last = i;
  }
  drop([&](uint32_t i) { return shared[i] != 0; });

  // Now they are disjoint: a slot that leaves a range, or holds one, marks all that it touches by a difference.
  std::fill(shared.begin(), shared.end(), 0);
  for (uint32_t slot = 0; slot < slotBytes.size() && count; ++slot) {
    const fb::Slot &table = *meta.slots()->Get(slot);
    uint64_t begin = table.offset(), end = begin + slotBytes[slot];
    if (table.space() != fb::Space::arena || begin == end)
      continue;
    const MovableRange *stop = found.begin() + count;
    const MovableRange *first =
        std::partition_point(static_cast<const MovableRange *>(found.begin()), stop,
                             [&](const MovableRange &range) { return range.offset + range.bytes <= begin; });
    if (first == stop || first->offset >= end || (first->offset <= begin && end <= first->offset + first->bytes))
      continue;
    const MovableRange *behind =
        std::partition_point(first, stop, [&](const MovableRange &range) { return range.offset < end; });
    ++shared[size_t(first - found.begin())];
    --shared[size_t(behind - found.begin())];
  }
  int32_t depth = 0;
  drop([&](uint32_t i) { return (depth += shared[i]) != 0; });
  if (refused >= 0)
    return MLC_REFUSE(CarryRange, ErrorCode::Corrupt, "%s: state '%.60s' shares its range of the arena with others",
                      name(), meta.states()->Get(uint32_t(refused))->name()->c_str());
  MLC_ASSIGN(program.ranges, OwnedArray<MovableRange>::create(allocator, count, "ranges"));
  std::copy(found.begin(), found.begin() + count, program.ranges.begin());
  return {};
}

} // namespace mlc
