//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Where the ranges of a network's ports and carried states lie, and what follows them.
//
#include "runtime/exec/Executor.h"

#include <algorithm>

namespace mlc {

/// The range that a slot of the arena lies in, or -1. The verifier keeps ranges disjoint, and slots inside or apart.
static int32_t rangeAround(std::span<const MovableRange> ranges, const fb::Slot &slot) {
  if (slot.space() != fb::Space::arena)
    return -1;
  auto behind = std::upper_bound(ranges.begin(), ranges.end(), slot.offset(),
                                 [](uint64_t offset, const MovableRange &range) { return offset < range.offset; });
  if (behind == ranges.begin() || slot.offset() >= behind[-1].offset + behind[-1].bytes)
    return -1;
  return int32_t(behind - ranges.begin()) - 1;
}

Status Executor::listMembers() {
  std::span<const MovableRange> ranges = plan->program().ranges.span();
  if (ranges.empty())
    return {};
  MLC_ASSIGN(rangeBases, OwnedArray<uint8_t *>::create(allocator, ranges.size(), "ranges"));
  MLC_ASSIGN(rangeMembers, OwnedArray<Members>::create(allocator, ranges.size() + 1, "ranges"));
  for (size_t i = 0; i < ranges.size(); ++i)
    rangeBases[i] = arena.data() + ranges[i].offset;

  const auto &slots = *plan->metadata().slots();
  // Counts of range r go to entry r + 1, which sums turn into where they end; filling goes back from there.
  auto list = [&](auto slotOf, size_t count, uint32_t Members::*place, OwnedArray<Member> &members) -> Status {
    for (size_t i = 0; i < count; ++i)
      if (int32_t range = rangeAround(ranges, *slots.Get(slotOf(i))); range >= 0)
        ++(rangeMembers[size_t(range) + 1].*place);
    for (size_t i = 1; i < rangeMembers.size(); ++i)
      rangeMembers[i].*place += rangeMembers[i - 1].*place;
    MLC_ASSIGN(members, OwnedArray<Member>::create(allocator, rangeMembers[ranges.size()].*place, "ranges"));
    MLC_ASSIGN(auto next, OwnedArray<uint32_t>::create(allocator, ranges.size(), "ranges"));
    for (size_t i = 0; i < ranges.size(); ++i)
      next[i] = rangeMembers[i].*place;
    for (size_t i = 0; i < count; ++i) {
      const fb::Slot &slot = *slots.Get(slotOf(i));
      if (int32_t range = rangeAround(ranges, slot); range >= 0)
        members[next[size_t(range)]++] = {uint32_t(i), slot.offset() - ranges[size_t(range)].offset};
    }
    return {};
  };
  MLC_TRY(list([](size_t i) { return uint32_t(i); }, slots.size(), &Members::slots, slotMembers));
  MLC_TRY(list([&](size_t i) { return plan->viewSlots()[i]; }, views.size(), &Members::views, viewMembers));
  return list([&](size_t i) { return plan->codeSlots()[i]; }, codeBuffers.size(), &Members::buffers, bufferMembers);
}

int32_t Executor::rangeOf(uint32_t slot) const {
  std::span<const MovableRange> ranges = plan->program().ranges.span();
  int32_t range = rangeAround(ranges, *plan->metadata().slots()->Get(slot));
  return range >= 0 && ranges[size_t(range)].slot == slot ? range : -1;
}

void Executor::moveRange(uint32_t range, uint8_t *base) {
  if (!base)
    base = arena.data() + plan->program().ranges[range].offset;
  rangeBases[range] = base;
  const Members &from = rangeMembers[range], &to = rangeMembers[range + 1];
  for (uint32_t i = from.slots; i < to.slots; ++i)
    slotData[slotMembers[i].index] = base + slotMembers[i].offset;
  for (uint32_t i = from.views; i < to.views; ++i)
    views[viewMembers[i].index].data = base + viewMembers[i].offset;
  for (uint32_t i = from.buffers; i < to.buffers; ++i)
    codeBuffers[bufferMembers[i].index] = base + bufferMembers[i].offset;
}

void Executor::swapRanges(uint32_t a, uint32_t b) {
  uint8_t *base = rangeBases[a];
  moveRange(a, rangeBases[b]);
  moveRange(b, base);
}

uint64_t Executor::rangeReach(uint32_t range) const {
  // Kernels keep to the rows that there are now; on other axes, and of vectors, they have been checked at the bounds.
  for (uint32_t i = rangeMembers[range].views; i < rangeMembers[range + 1].views; ++i) {
    const auto &dims = *plan->metadata().slots()->Get(plan->viewSlots()[viewMembers[i].index])->dims();
    for (uint32_t axis = dims.size() == 1 ? 0 : 1; axis < dims.size(); ++axis)
      if (dims.Get(axis)->extent() >= 0)
        return plan->program().ranges[range].bytes;
  }
  uint64_t reach = 0;
  for (uint32_t i = rangeMembers[range].slots; i < rangeMembers[range + 1].slots; ++i) {
    TensorView view = slot(slotMembers[i].index);
    uint64_t elements = 1;
    bool empty = false;
    for (unsigned axis = 0; axis < view.rank; ++axis) {
      empty = empty || !view.dims[axis];
      elements += uint64_t(view.dims[axis] - 1) * uint64_t(view.strides[axis]);
    }
    if (!empty)
      reach = std::max(reach, slotMembers[i].offset + elements * dtypeSize(view.dtype));
  }
  return reach;
}

bool Executor::rangeWritten(uint32_t range) const {
  const MovableRange &bounds = plan->program().ranges[range];
  auto inside = [&](uint32_t slot) {
    const fb::Slot &table = *plan->metadata().slots()->Get(slot);
    return table.space() == fb::Space::arena && table.offset() >= bounds.offset &&
           table.offset() < bounds.offset + bounds.bytes;
  };
  for (const Plan::KernelCall &call : plan->kernelCalls())
    for (uint32_t i = 0; i < call.outputs; ++i)
      if (inside(plan->viewSlots()[call.firstView + call.inputs + i]))
        return true;
  for (const Plan::Loop &loop : plan->loops())
    if (loop.indexSlot >= 0 && inside(uint32_t(loop.indexSlot)))
      return true;
  return false;
}

} // namespace mlc
